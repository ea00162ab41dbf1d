// Every explorer by the name of its element, for the page and for the notebook.

const ELEMENTS = {
  "ddpm-schedule-explorer": ScheduleExplorer, "ddpm-reverse-explorer": ReverseExplorer,
  "ddpm-samplers-explorer": SamplersExplorer, "ddpm-denoiser": Denoiser, "ddpm-training-explorer": TrainingExplorer,
  "ddpm-cost-explorer": CostExplorer,
};
for (const [tag, type] of Object.entries(ELEMENTS)) if (!customElements.get(tag)) customElements.define(tag, type);

// For anywidget: the element, with its settings tied to the traits of the same names.
const widget = (tag) => ({
  render({ model, el }) {
    const element = document.createElement(tag), keys = Object.keys(ELEMENTS[tag].fields);
    for (const name of ELEMENTS[tag].data) element.setAttribute(name, JSON.stringify(model.get(name)));
    for (const key of keys) element.setAttribute(key, model.get(key));
    element.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab would take the arrow keys
    element.addEventListener("settings", ({ detail }) => {
      const changed = keys.filter((key) => model.get(key) !== detail[key]);
      for (const key of changed) model.set(key, detail[key]);
      if (changed.length) model.save_changes();
    });
    for (const key of keys) model.on(`change:${key}`, () => {
      if (model.get(key) !== element.settings?.[key]) element.change({ [key]: model.get(key) });
    });
    element.askKernel = (name) => new Promise((resolve, reject) => { // for a model's file, see widgets.py
      const hear = (message, [file]) => {
        if (message.model !== name) return;
        model.off("msg:custom", hear);
        if (file) resolve(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength)); else reject(new Error(message.error));
      };
      model.on("msg:custom", hear);
      model.send({ model: name });
    });
    el.append(element);
  },
});
