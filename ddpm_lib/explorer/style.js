// The look of every explorer, light and dark, narrow and wide.

const STYLE = `
:host { display: block; margin: 1.25rem 0; container-type: inline-size; color-scheme: light;
  --paper: #fff; --ink: #1c2530; --soft: #5a6675; --line: #d5dbe2; --fill: #f3f5f8;
  --blue: #0067a8; --orange: #b84a00; --warn: #fff4e5; }
:host([dark]) { color-scheme: dark; --paper: #161b22; --ink: #e6ebf1; --soft: #a3afbd; --line: #39424e; --fill: #212933;
  --blue: #62b8f5; --orange: #f5a04e; --warn: #3a2a14; }
* { box-sizing: border-box; }
.card { background: var(--paper); color: var(--ink); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
header { display: flex; gap: 8px 12px; align-items: center; flex-wrap: wrap; margin-bottom: 12px; }
header strong { font-size: 15px; flex: 1; min-width: 60%; }
i { font-family: "STIX Two Math", Cambria, Georgia, serif; font-size: 1.06em; }
sub { font-size: .72em; line-height: 0; }
button, select { font: inherit; color: inherit; background: var(--fill); border: 1px solid var(--line); border-radius: 6px;
  padding: 3px 10px; min-height: 30px; cursor: pointer; }
button:hover, select:hover { border-color: var(--soft); }
button.main { background: var(--blue); border-color: var(--blue); color: var(--paper); min-width: 84px; font-weight: 600; }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
fieldset { border: 0; margin: 0; padding: 0; display: flex; }
legend { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
.choice { position: relative; }
.choice input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: pointer; }
.choice span { display: block; padding: 3px 11px; border: 1px solid var(--line); margin-left: -1px; background: var(--fill);
  min-height: 30px; }
.choice:first-of-type span { border-radius: 6px 0 0 6px; margin-left: 0; }
.choice:last-of-type span { border-radius: 0 6px 6px 0; }
.choice :checked + span { background: var(--blue); border-color: var(--blue); color: var(--paper); }
.choice :focus-visible + span { outline: 2px solid var(--blue); outline-offset: 2px; }
.sliders { display: grid; gap: 4px 28px; margin: 12px 0; }
.slider { display: grid; grid-template-columns: 92px 1fr 62px; gap: 10px; align-items: center; min-height: 30px; }
.slider output { text-align: right; }
header strong { order: -2; }
header > button { order: -1; }
.slider[data-off] { opacity: .55; }
input[type=range] { width: 100%; margin: 0; accent-color: var(--blue); min-height: 24px; cursor: pointer; }
select, button, .choice span, input[type=range] { touch-action: manipulation; }
figure { margin: 0; min-width: 0; }
figcaption { color: var(--soft); font-size: 12.5px; white-space: nowrap; }
figcaption b { color: var(--ink); font-weight: 600; }
svg { display: block; width: 100%; height: 112px; cursor: ew-resize; touch-action: pan-y; overflow: visible; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
.frame { fill: none; stroke: var(--line); }
.guide { stroke: var(--line); stroke-dasharray: 2 3; }
.curve { fill: none; stroke: var(--blue); stroke-width: 2; stroke-linejoin: round; }
.start { fill: none; stroke: var(--soft); stroke-width: 1; opacity: .75; }
.dashed { fill: none; stroke: var(--orange); stroke-width: 1.5; stroke-dasharray: 4 3; }
.now { stroke: var(--ink); stroke-width: 1; }
.dot { fill: var(--orange); stroke: var(--paper); stroke-width: 1.5; }
canvas { display: block; width: 100%; border-radius: 4px; }
.sharp { image-rendering: pixelated; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(76px, 1fr)); gap: 4px 10px; margin: 12px 0; }
dt { color: var(--soft); font-size: 12.5px; height: 20px; line-height: 20px; white-space: nowrap; }
dd { margin: 0; font-weight: 600; }
p { margin: 10px 0 0; }
.warn { background: var(--warn); border-left: 3px solid var(--orange); border-radius: 4px; padding: 6px 10px; }
.hint { color: var(--soft); font-size: 13px; }
.said { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; white-space: nowrap; }
.view { display: grid; gap: 12px 18px; grid-template: "picture table" "sliders sliders" "charts charts" "strip strip" / 128px minmax(0, 1fr); }
.charts { display: grid; gap: 10px 14px; grid-template-columns: 1fr 1fr; }
.picture { grid-area: picture; }
.view .charts { grid-area: charts; }
.view .sliders { grid-area: sliders; margin: 0; }
.view dl { grid-area: table; margin: 0; align-content: start; }
.strip { grid-area: strip; display: grid; grid-template-columns: repeat(8, 1fr); gap: 4px; cursor: pointer; text-align: center; }
.strip .near canvas { outline: 2px solid var(--orange); outline-offset: 1px; }
.stage { height: 300px; border-radius: 4px; }
.panels { display: grid; grid-template-columns: 1fr 1fr; gap: 10px 12px; margin-top: 10px; }
.square { aspect-ratio: 1; }
.play { display: flex; gap: 8px; align-items: center; margin-top: 10px; }
.play { flex-wrap: wrap; }
.play .slider { flex: 1 1 240px; grid-template-columns: auto 1fr 84px; }
.wide { grid-template-columns: 1fr 1fr; }
header .slider { flex: 1 1 190px; grid-template-columns: auto 1fr 40px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 20px; max-width: 580px; margin: 0 auto; }
.pair[data-three] { max-width: none; }
.pair[data-three] > :first-child { grid-column: 1 / -1; width: 55%; margin: 0 auto; }
.paper { cursor: crosshair; touch-action: none; border: 1px solid var(--line); }
input[type=color] { padding: 2px; width: 44px; height: 30px; vertical-align: middle; }
header > input[type=range] { width: 90px; }
.still img { display: block; max-width: 100%; margin: 0 auto; }
.open { position: relative; background: var(--fill); border: 1px solid var(--line); border-radius: 6px; padding: 3px 10px;
  min-height: 30px; cursor: pointer; }
.open input { position: absolute; inset: 0; width: 100%; opacity: 0; cursor: pointer; }
.open:focus-within { outline: 2px solid var(--blue); outline-offset: 2px; }
.field input[type=number] { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: 6px;
  padding: 3px 6px; min-height: 30px; width: 7.5em; }
.fields { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 6px 28px; margin-bottom: 12px; }
.fields .field { display: grid; grid-template-columns: 76px minmax(0, 1fr) 60px; gap: 8px; align-items: center; }
.fields .field input[type=number] { width: 100%; }
svg.roof { height: 220px; cursor: default; touch-action: auto; }
svg.bar { height: 24px; cursor: default; touch-action: auto; margin-top: 12px; }
.layer, .part { stroke: var(--paper); stroke-width: 1; }
.layer { fill-opacity: .75; }
.legend { white-space: normal; display: flex; flex-wrap: wrap; gap: 2px 16px; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 2px; }
.blue { fill: var(--blue); background: var(--blue); }
.orange { fill: var(--orange); background: var(--orange); }
.soft { fill: var(--soft); background: var(--soft); }
.lesson { gap: 12px 14px; margin-top: 10px; }
.lesson > :first-child { width: 78% !important; }
.results { display: grid; gap: 14px 24px; margin-top: 12px; grid-template-columns: minmax(0, 1fr); }
.results figcaption { white-space: normal; }
.losses { height: 150px; }
table { border-collapse: collapse; width: 100%; margin-top: 8px; font-size: 12.5px; }
th, td { padding: 2px 3px; text-align: right; font-weight: 400; }
th[scope=row], th[scope=colgroup] { text-align: left; }
thead, tbody th { color: var(--soft); }
tbody tr { border-top: 1px solid var(--line); }
tbody .shown > * { color: var(--ink); font-weight: 600; }
progress { display: block; width: 100%; height: 8px; margin-top: 10px; accent-color: var(--blue); }
.line { margin-top: 4px; color: var(--soft); }
[hidden] { display: none !important; }
@container (min-width: 600px) {
  .pair[data-three] { grid-template-columns: repeat(3, 1fr); }
  .pair[data-three] > :first-child { grid-column: 1; width: auto; margin: 0; }
  .lesson > :first-child { width: auto !important; }
  .results { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .view { grid-template: "picture charts" "strip strip" "sliders sliders" "table table" / 208px minmax(0, 1fr); }
  dl { grid-template-columns: repeat(6, auto); justify-content: space-between; }
  .wide { grid-template-columns: repeat(4, auto); }
  .sliders { grid-template-columns: 1fr 1fr; }
  header > button { order: 1; }
  header strong { min-width: 0; }
  .strip { gap: 8px; }
  .stage { height: 340px; }
  .panels { grid-template-columns: repeat(4, 1fr); }
}
slot { display: none; }
@media print {
  button, .sliders, .play { display: none; }
  :host(:not(:empty)) slot { display: contents; }
  :host(:not(:empty)) .card { display: none; }
}
`;
