// Workers of the page's own text, which answer questions one after another.

// The text of a worker that knows these functions and constants by their names, and runs the last of them.
function workerText(known) {
  const lines = Object.entries(known).map(([name, value]) => `const ${name} = ${typeof value === "function" ? value : JSON.stringify(value)};`);
  return `"use strict";\n${lines.join("\n")}\n${Object.keys(known).at(-1)}();\n`;
}

// In the worker: answer every message { number, action, ... } with { number, ... } or { number, error }.
function answerWith(actions) {
  onmessage = ({ data }) => {
    try {
      postMessage({ number: data.number, ...actions[data.action](data) });
    } catch (error) {
      postMessage({ number: data.number, error: error.message });
    }
  };
}

class AskedWorker {
  constructor(text) {
    this.worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
    this.waiting = new Map();
    this.asked = 0;
    this.worker.onmessage = ({ data: { number, error, ...answer } }) => {
      const { resolve, reject } = this.waiting.get(number);
      this.waiting.delete(number);
      if (error) reject(new Error(error)); else resolve(answer);
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || "the browser starts no worker here"));
      this.waiting.clear();
    };
  }

  ask(action, details = {}) {
    return new Promise((resolve, reject) => {
      const number = this.asked++;
      this.waiting.set(number, { resolve, reject });
      this.worker.postMessage({ number, action, ...details });
    });
  }

  end() { this.worker.terminate(); }
}
