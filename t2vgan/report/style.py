"""The page's style sheet: one column, one typeface, light and dark, 320 pixels and up."""

STYLE = """
:root {
  --paper: #fbfbfa; --card: #ffffff; --ink: #1d1f23; --soft: #6a6f78; --rule: #e4e4e1;
  --s0: #2f62d9; --s1: #d9730d; --s2: #2b8a5f; --s3: #b8327f; --s4: #6d4fc4; --s5: #0d8ba3;
  --s6: #94780a; --s7: #5f6672; --accent: #2f62d9; --warn: #a4460b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #141518; --card: #1c1e22; --ink: #e9e9e6; --soft: #9a9fa8; --rule: #2e3137;
    --s0: #7ea6ff; --s1: #f2a154; --s2: #6cc9a0; --s3: #f08bc0; --s4: #b7a1f5; --s5: #5cc8de;
    --s6: #d9c158; --s7: #a9b0bb; --accent: #7ea6ff; --warn: #f2a154;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1072px; margin: 0 auto; padding: 48px 24px 32px; }
h1 { font-size: 34px; line-height: 1.15; margin: 0; letter-spacing: -0.02em;
     overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 0 0 14px; letter-spacing: -0.01em; }
h3 { font-size: 15px; margin: 28px 0 10px; }
p { margin: 0 0 14px; max-width: 70ch; color: var(--soft); }
section { margin-top: 52px; }
em { font-style: normal; font-size: 11px; color: var(--accent); border: 1px solid currentColor;
     border-radius: 3px; padding: 0 4px; white-space: nowrap; vertical-align: 1px; }
footer { margin-top: 56px; padding-top: 14px; border-top: 1px solid var(--rule);
         color: var(--soft); font-size: 13px; }
.absent { font-style: italic; }

.eyebrow { margin: 0 0 4px; font-size: 13px; }
.verdict { font-size: 17px; max-width: none; color: var(--ink); margin: 10px 0 24px; }
dl, dd { margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(5, 1fr); gap: 1px;
         background: var(--rule); border: 1px solid var(--rule); border-radius: 8px;
         overflow: hidden; }
.tiles div { background: var(--card); padding: 14px 16px; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { font-size: 20px; line-height: 1.3; font-weight: 600; letter-spacing: -0.01em;
            overflow-wrap: anywhere; }
.tiles .remark { font-size: 13px; font-weight: 400; letter-spacing: 0; color: var(--soft); }

.sheet { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 18px 40px; }
.sheet p { margin: 0 0 4px; font-size: 14px; color: var(--ink); overflow-wrap: anywhere; }
.strip { display: grid; grid-template-columns: repeat(var(--columns), minmax(0, 96px)); gap: 4px; }
.beside .strip > .clip:first-child { outline: 2px solid var(--soft); }
.head { color: var(--soft); font-size: 12px; line-height: 1.35; align-items: end;
        overflow-wrap: anywhere; }
.head b { color: var(--ink); font-weight: 600; }
.clip { display: block; background-color: var(--rule); background-repeat: no-repeat;
        border-radius: 2px; outline: 1px solid var(--rule); }
@keyframes film { from { background-position-x: 0%; } to { background-position-x: 100%; } }
.pause { position: sticky; top: 12px; z-index: 1; float: right; margin-top: 24px; padding: 4px 12px;
         font-size: 13px; cursor: pointer; background: var(--card);
         border: 1px solid var(--rule); border-radius: 99px; }
input { accent-color: var(--accent); margin: 0; vertical-align: -1px; }
main:has(#pause:checked) .clip { animation-play-state: paused; }
@media (prefers-reduced-motion: reduce) { main .clip { animation-play-state: paused; } }

.charts { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 28px 24px; }
figure { margin: 0; display: flex; flex-direction: column; }
figcaption { flex: 1; min-height: 46px; font-size: 13px; line-height: 1.45; }
figcaption strong { display: block; font-weight: 600; }
figcaption small { font-size: inherit; font-weight: 400; color: var(--soft); }
.key { color: var(--soft); margin-right: 14px; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: 12px; height: 2px; margin-right: 5px;
               vertical-align: 4px; background: var(--s); }
.two { grid-template-columns: repeat(2, minmax(0, 1fr)); margin-top: 28px; }
svg { display: block; width: 100%; height: auto; }
.s0 { --s: var(--s0); } .s1 { --s: var(--s1); } .s2 { --s: var(--s2); } .s3 { --s: var(--s3); }
.s4 { --s: var(--s4); } .s5 { --s: var(--s5); } .s6 { --s: var(--s6); } .s7 { --s: var(--s7); }
.grid { stroke: var(--rule); stroke-width: 1; }
.axis { stroke: var(--soft); stroke-width: 1; }
.tick { fill: var(--soft); font-size: 10.5px; }
.tick.y, .tick.end { text-anchor: end; } .tick.x { text-anchor: middle; }
.line { fill: none; stroke: var(--s); stroke-width: 1.6; stroke-linejoin: round; }
.dot { fill: var(--s); }
.band { fill: var(--s); opacity: 0.16; }
.probe rect { fill: transparent; }
.probe line { stroke: var(--soft); stroke-width: 0.7; }
.probe circle { fill: var(--s); stroke: var(--paper); stroke-width: 1; }
.probe line, .probe circle { visibility: hidden; pointer-events: none; }
.probe:hover line, .probe:hover circle { visibility: visible; }

table { border-collapse: collapse; }
th { font-weight: inherit; text-align: left; }
thead th { color: var(--soft); font-size: 13px; vertical-align: bottom; }
th, td { padding: 5px 16px 5px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; white-space: nowrap; }
.scroll { overflow-x: auto; margin-bottom: 20px; }
.bars { width: 100%; table-layout: fixed; }
.bars th, .bars td { vertical-align: middle; overflow-wrap: anywhere; }
.bars .wide { width: 46%; }
.bars .number { width: 68px; padding-right: 0; }
.numbers th, .numbers td { white-space: nowrap; padding-right: 28px; }
.track { display: block; position: relative; height: 8px; background: var(--rule);
         border-radius: 2px; }
.fill { position: absolute; inset: 0 auto 0 0; background: var(--accent); border-radius: 2px; }
.mark { position: absolute; top: -3px; bottom: -3px; width: 2px; margin-left: -1px;
        background: var(--ink); }
.matrices { display: flex; flex-wrap: wrap; gap: 8px 40px; align-items: start; }
.matrices .scroll { max-width: 100%; }
.confusion { font-size: 13px; border-collapse: separate; border-spacing: 2px; }
.confusion caption { text-align: left; font-size: 15px; font-weight: 600; padding-bottom: 4px; }
.confusion th, .confusion td { border: 0; padding: 0; }
.confusion td { width: 34px; height: 28px; text-align: center; vertical-align: middle;
                border-radius: 3px; background: var(--card); }
.confusion thead th { height: 1px; color: var(--ink); text-align: center; }
.confusion thead span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap;
                        padding: 4px 0; }
.confusion thead .corner { color: var(--soft); text-align: left; white-space: nowrap; }
.confusion [scope=row] { white-space: nowrap; padding-right: 8px; vertical-align: middle; }
.confusion .zero { color: var(--soft); opacity: 0.5; }
.confusion .hit { --tint: var(--accent); } .confusion .miss { --tint: var(--s1); }
.confusion :is(.hit, .miss) {
  background: color-mix(in srgb, var(--tint) calc(var(--shade) * 55%), var(--card));
}
.facts { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 12px 24px;
         font-size: 14px; }
th small, td small { color: var(--soft); }
.facts dt { color: var(--soft); font-size: 13px; }
.facts dd { overflow-wrap: anywhere; }
.events td, .config td, .config th { font-size: 14px; overflow-wrap: anywhere; }
.events .number { color: var(--soft); }
.problems { color: var(--warn); padding-left: 18px; margin: 0 0 14px; }
summary { cursor: pointer; color: var(--soft); margin-bottom: 10px; }
.config, pre { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.config th, .config td { font-size: 13px; }
.config th { color: var(--soft); }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
      padding: 14px 16px; margin: 0 0 20px; white-space: pre-wrap; overflow-wrap: anywhere; }

@media (max-width: 900px) {
  .charts, .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tiles { grid-template-columns: repeat(2, 1fr); }
  .tiles div:first-child:nth-last-child(odd) { grid-column: 1 / -1; }
}
@media (max-width: 640px) {
  main { padding: 28px 16px 24px; }
  h1 { font-size: 28px; }
  section { margin-top: 40px; }
  .charts { grid-template-columns: minmax(0, 1fr); gap: 24px; }
  .sheet { grid-template-columns: minmax(0, 1fr); gap: 12px; }
  .strip { gap: 3px; }
  .head { font-size: 11px; }
  .second { display: none; }
  figcaption { min-height: 0; margin-bottom: 4px; }
  .bars tr { display: flex; flex-wrap: wrap; align-items: center; padding: 4px 0;
             border-bottom: 1px solid var(--rule); }
  .bars th, .bars td { border: 0; padding: 1px 0; }
  .bars [scope=row] { flex: 0 0 100%; }
  .bars [scope=col]:first-child { display: none; }
  .bars .wide { flex: 1 1 30%; }
  .bars .number { width: 64px; }
  th, td { padding-right: 10px; }
}
"""
