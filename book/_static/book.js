// Small things of the pages: the network on the landing page, paper in daylight, definitions on a tap, and what the theme
// leaves undone for keyboards and screen readers.
"use strict";
(() => {
  const folder = document.currentScript.src; // the explorers' script lies beside this one

  function load(name) {
    const script = document.createElement("script");
    script.src = new URL(name, folder).href;
    return new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${name} could not be loaded`));
      document.head.append(script);
    });
  }

  // A button that becomes the element it describes. Nothing of it is loaded before it is pressed.
  for (const button of document.querySelectorAll("button[data-element]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.disabled = true;
      await load("explorers.js");
      const element = document.createElement(button.dataset.element);
      for (const [key, value] of Object.entries(JSON.parse(button.dataset.settings))) element.setAttribute(key, value);
      button.closest(".hero").after(element);
      button.remove();
      element.scrollIntoView({ block: "nearest" });
      element.play.focus({ preventScroll: true });
      element.run();
    });
  }

  // Paper is white: in the dark the page is printed with the colours of the light.
  let theme;
  addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
  });
  addEventListener("afterprint", () => { document.documentElement.dataset.theme = theme; });

  // Where nothing can hover, the first tap on a word of the glossary shows what it means, the second leads there.
  let shown;
  addEventListener("focusout", () => { shown = undefined; });
  addEventListener("click", (event) => {
    const term = event.target.closest?.("a.term");
    if (!term || term === shown || !matchMedia("(hover: none)").matches) return;
    event.preventDefault();
    term.focus();
    shown = term;
  });

  // A table that is wider than the screen scrolls, so a keyboard must reach it. A list has list items.
  addEventListener("load", () => {
    for (const table of document.querySelectorAll(".pst-scrollable-table-container > table")) {
      if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
    }
    for (const entry of document.querySelectorAll("[role=list] > [role=doc-biblioentry]")) entry.role = "listitem";
  });
})();
