"""How a report looks: one style sheet, light and dark, that needs nothing from outside."""

CSS = """
:root{color-scheme:light dark;--text:#1f2933;--dim:#5c6670;--back:#fff;--card:#f7f8fa;--line:#dde2e8;--link:#3b5bdb;
--bronze:#9a5b2a;--bronze-back:#f7ede4;--silver:#52606d;--silver-back:#eef1f4;--gold:#8a6a00;--gold-back:#fdf4d3;
--ok:#087f5b;--bad:#c92a2a;--warn:#8a5a00;--bad-back:#fff1f1}
@media (prefers-color-scheme:dark){:root{--text:#e6eaee;--dim:#a6adb4;--back:#14181d;--card:#1b2027;--line:#303841;
--link:#91a7ff;--bronze:#e0a273;--bronze-back:#35261b;--silver:#b8c4cf;--silver-back:#262c33;--gold:#f2c94c;
--gold-back:#332b10;--ok:#63e6be;--bad:#ff8787;--warn:#ffc078;--bad-back:#2d1a1c}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:14px/1.5 Inter,"Segoe UI",Roboto,"Helvetica Neue",Arial,
sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1240px;margin:0 auto;padding:28px 24px 64px}
h1{font-size:22px;margin:0 0 12px}h2{font-size:16px;margin:32px 0 8px}a{color:var(--link)}
code,th[scope=row],svg text.name{font-family:"JetBrains Mono",ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
font-size:13px}
dl{display:flex;flex-wrap:wrap;gap:8px 28px;margin:0}
dl div{min-width:90px}dt{color:var(--dim);font-size:12px}dd{margin:0}
.state{font-weight:600;white-space:nowrap}h1 .state{font-size:15px;margin-left:8px}
.done,.passed{color:var(--ok)}.failed,.blocked,.interrupted{color:var(--bad)}.warned,.quarantined{color:var(--warn)}
.skipped,.cancelled{color:var(--dim)}
.failures{margin-top:20px;padding:4px 20px 12px;border:1px solid var(--bad);border-left-width:5px;border-radius:8px;
background:var(--bad-back)}
.failures h2{margin-top:12px;color:var(--bad)}.failures ul{margin:0;padding-left:18px}.failures p{margin:2px 0 8px}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-top:22px}
.figures div{padding:12px 14px;border:1px solid var(--line);border-radius:8px;background:var(--card)}
.figures b{display:block;font-size:20px;line-height:1.2}.figures span{color:var(--dim);font-size:12px}
.chip{padding:2px 10px;border-radius:6px;border-left:4px solid}
.chip.bronze{color:var(--bronze);background:var(--bronze-back)}.chip.silver{color:var(--silver);
background:var(--silver-back)}.chip.gold{color:var(--gold);background:var(--gold-back)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;margin:0 0 12px}
caption{text-align:left;color:var(--dim);font-size:12px;padding:0 0 4px}
th,td{text-align:left;vertical-align:top;padding:7px 10px;border-bottom:1px solid var(--line)}
thead th{font-size:12px;color:var(--dim);font-weight:600;white-space:nowrap;border-bottom-width:2px}
tbody th{font-weight:600;white-space:nowrap}tr:target{background:var(--card)}
td.n,thead th.n{text-align:right;white-space:nowrap}.note{margin:2px 0 0;color:var(--dim);font-size:12px}
.rows td{white-space:nowrap}
.null{color:var(--dim);font-style:italic}
details{margin-top:16px;padding:10px 14px;border:1px solid var(--line);border-radius:8px}summary{cursor:pointer}
details[open] summary{margin-bottom:10px}
svg.lineage{display:block;max-width:none}
svg .edge{fill:none;stroke:var(--dim);stroke-width:1.3;opacity:.65}
svg rect{fill:var(--card);stroke:var(--line)}svg text{fill:var(--text);font-size:13px}svg text.word{fill:var(--dim);
font-size:11px}
svg .stripe{stroke:none}.node.bronze .stripe{fill:var(--bronze)}.node.silver .stripe{fill:var(--silver)}
.node.gold .stripe{fill:var(--gold)}
@media print{main{max-width:none;padding:0}.scroll{overflow:visible}details{border:0;padding:0}
a{color:inherit;text-decoration:none}tr,.figures div{break-inside:avoid}}
""".replace("\n", "")
