// What all explorers share: an element with settings, their controls, the page's address, and the page's colours.

// Only a classic script has a current script: the address belongs to our own pages, never to a notebook's.
const ownPage = Boolean(document.currentScript);
const PREFERENCE = matchMedia("(prefers-color-scheme: dark)");

const show = (value) => Number.isInteger(value) && Math.abs(value) < 1e4 ? String(value)
  : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e4 ? value.toExponential(3) : value.toPrecision(4);

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value; else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function button(text, className, act) {
  const node = make("button", { type: "button", textContent: text, className });
  node.addEventListener("click", act);
  return node;
}

const html = (text) => document.createRange().createContextualFragment(text);

function isDark() {
  const root = document.documentElement, body = document.body?.dataset ?? {};
  const named = root.dataset.theme ?? root.getAttribute("theme"); // the book; Colab
  if (named === "dark" || named === "light") return named === "dark";
  if (body.jpThemeLight) return body.jpThemeLight === "false"; // JupyterLab
  if (body.vscodeThemeKind) return body.vscodeThemeKind.includes("dark");
  return PREFERENCE.matches;
}

class Explorer extends HTMLElement {
  // JupyterLab takes an element out of the page and puts it back as one scrolls.
  connectedCallback() {
    if (!this.shadowRoot) this.begin();
    this.repaint ??= () => { this.toggleAttribute("dark", isDark()); this.redraw(); };
    this.theme = new MutationObserver(this.repaint);
    this.theme.observe(document.documentElement, { attributeFilter: ["data-theme", "theme"] });
    if (document.body) this.theme.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
    this.size = new ResizeObserver(() => this.redraw());
    this.size.observe(this.card);
    PREFERENCE.addEventListener("change", this.repaint);
    this.repaint();
  }

  disconnectedCallback() {
    this.theme.disconnect();
    this.size.disconnect();
    PREFERENCE.removeEventListener("change", this.repaint);
  }

  begin() {
    this.initial = {};
    for (const [key, field] of Object.entries(this.constructor.fields)) {
      this.initial[key] = this.read(key, this.getAttribute(key)) ?? field.value;
    }
    const names = [...document.querySelectorAll(`${this.localName}[name="${this.getAttribute("name")}"]`)];
    const place = names.indexOf(this);
    this.own = `${this.getAttribute("name")}${place > 0 ? place + 1 : ""}.`;
    this.settings = { ...this.initial };
    if (ownPage) {
      for (const [key, text] of new URLSearchParams(location.search)) {
        if (!key.startsWith(this.own)) continue;
        const name = key.slice(this.own.length), value = this.read(name, text);
        if (value !== undefined) this.settings[name] = value;
      }
    }
    this.readings = {}; // the numbers shown, unrounded
    this.controls = [];
    this.said = make("p", { className: "said", role: "status" });
    this.warning = make("p", { className: "warn", hidden: true });
    this.card = make("div", { className: "card", role: "group", "aria-label": this.constructor.title });
    // What stands inside the element in the page is for paper, and for pages without scripts.
    this.attachShadow({ mode: "open" }).append(make("style", { textContent: STYLE }), this.card, make("slot"));
    this.build();
    this.card.append(this.said);
    if (ownPage) this.card.querySelector(".hint").append(" Copy the page's address to share the setting.");
    this.change({});
  }

  // A setting from text or a number; undefined where there is none or it makes no sense.
  read(key, given) {
    const field = this.constructor.fields[key];
    if (!field || given === null || given === "") return undefined;
    if (field.choices) return field.choices(this).includes(given) ? given : undefined;
    const number = Number(given);
    if (!Number.isFinite(number)) return undefined;
    const inside = Math.min(Math.max(number, field.min), field.max);
    return field.whole ? Math.round(inside) : inside;
  }

  change(values) {
    Object.assign(this.settings, values);
    this.settle(values);
    for (const control of this.controls) control();
    this.redraw();
    clearTimeout(this.later);
    this.later = setTimeout(() => this.tell(), 400);
  }

  // Once the sliders rest: the address, the screen reader, and the notebook's kernel learn of it.
  tell() {
    if (ownPage) {
      const address = new URL(location.href);
      for (const [key, value] of Object.entries(this.settings)) {
        if (value === this.initial[key]) address.searchParams.delete(this.own + key);
        else address.searchParams.set(this.own + key, value);
      }
      if (address.href !== location.href) history.replaceState(history.state, "", address);
    }
    if (this.spoken !== this.sentence) this.said.textContent = this.spoken = this.sentence;
    this.dispatchEvent(new CustomEvent("settings", { detail: { ...this.settings } }));
  }

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      if (this.card.clientWidth) this.draw();
      this.spoken ??= this.sentence;
    });
  }

  // `values` makes a slider of positions in a list; without it the slider runs over whole numbers.
  slider(key, label, { values, most, off = () => false, text = String } = {}) {
    const field = this.constructor.fields[key];
    if (values && !values.includes(this.settings[key])) values = [...values, this.settings[key]].sort((a, b) => a - b);
    const input = make("input", { type: "range", step: 1, min: values ? 0 : field.min, "data-key": key });
    const output = make("output");
    const row = make("label", { className: "slider" }, make("span", {}, html(label)), input, output);
    input.addEventListener("input", () => this.change({ [key]: values ? values[input.value] : Number(input.value) }));
    this.controls.push(() => {
      const value = this.settings[key];
      if (values && !values.includes(value)) values = [...values, value].sort((a, b) => a - b);
      input.max = values ? values.length - 1 : most?.() ?? field.max;
      input.value = values ? values.indexOf(value) : value;
      output.textContent = text(value);
      input.setAttribute("aria-valuetext", text(value));
      input.disabled = off();
      row.toggleAttribute("data-off", input.disabled);
    });
    return row;
  }

  choices(key, legend, labels = {}) {
    const group = make("fieldset", {}, make("legend", { textContent: legend }));
    for (const value of this.constructor.fields[key].choices(this)) {
      const input = make("input", { type: "radio", name: key, value, "data-key": key });
      input.addEventListener("change", () => this.change({ [key]: value }));
      this.controls.push(() => { input.checked = this.settings[key] === value; });
      group.append(make("label", { className: "choice" }, input, make("span", { textContent: labels[value] ?? value })));
    }
    return group;
  }

  menu(key, label) {
    const options = this.constructor.fields[key].choices(this).map((value) => make("option", { value, textContent: value }));
    const menu = make("select", { "aria-label": label, "data-key": key }, ...options);
    menu.addEventListener("change", () => this.change({ [key]: menu.value }));
    this.controls.push(() => { menu.value = this.settings[key]; });
    return menu;
  }

  reset() {
    return button("Reset", "", () => { this.stop?.(); this.change(this.initial); });
  }

  table(rows, className = "") {
    this.cells = {};
    return make("dl", { className }, ...Object.entries(rows).map(([key, label]) => {
      this.cells[key] = make("dd", { "data-reading": key });
      return make("div", {}, make("dt", {}, html(label)), this.cells[key]);
    }));
  }

  fill(readings) {
    this.readings = readings;
    for (const [key, cell] of Object.entries(this.cells)) cell.textContent = show(readings[key]);
  }
}
