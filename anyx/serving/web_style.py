"""How the web demo looks: one style sheet, fonts of the reader's own machine, light and dark."""

from __future__ import annotations

import gradio as gr

CSS = """
.gradio-container { width: 100% !important; max-width: 1280px !important; margin: 0 auto !important;
  padding: 12px !important; }
body { background: var(--body-background-fill) !important; color: var(--body-text-color) !important; }
footer { display: none !important; }
#anyx-head { flex-wrap: nowrap; align-items: center; }
#anyx-head h1 { margin: 0; font-size: 1.25rem; }
#anyx-head p { margin: 0; opacity: .75; font-size: .85rem; }
#anyx-light { flex: 0 0 auto; min-width: 44px; max-width: 44px; }
#anyx-talk { height: min(62vh, 640px) !important; min-height: 320px; }
#anyx-talk .message span.md { overflow-wrap: anywhere; white-space: pre-wrap; }
#anyx-talk .message img, #anyx-talk .message video { width: auto; height: auto; max-width: min(100%, 512px);
  max-height: min(70vh, 512px); object-fit: contain; border-radius: 10px; }
#anyx-talk .message [src*="/small_"] { width: 192px; height: 192px; image-rendering: pixelated; }
#anyx-talk [aria-label="Share"], #anyx-talk [title="Share"] { display: none; }
#anyx-talk .waveform-wrapper { height: 44px !important; overflow: hidden; display: flex; align-items: center; }
#anyx-talk .waveform-wrapper > div { flex: 1; }
#anyx-do { display: grid !important; grid-template-columns: repeat(4, 1fr); gap: 8px; }
#anyx-do button { min-width: 0; }
#anyx-routes { display: grid !important; grid-template-columns: repeat(auto-fill, minmax(98px, 1fr)); gap: 6px; }
#anyx-routes button { min-width: 0; padding: 6px 4px; font-size: .8rem; font-weight: 500; }
#anyx-file { position: absolute; width: 1px; height: 1px; overflow: hidden; opacity: 0; pointer-events: none; }
.anyx-trace { overflow-x: auto; font-size: .85rem; }
.anyx-trace table { width: 100%; border: 0 !important; border-collapse: collapse; }
.anyx-trace th:nth-child(n + 2) { text-align: right; }
.anyx-trace td, .anyx-trace th { padding: 3px 6px !important; text-align: left; border: 0 !important;
  border-top: 1px solid #8884 !important; }
.anyx-trace th { border-top: 0 !important; }
.anyx-trace td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.anyx-trace svg { width: 100%; height: auto; display: block; margin-top: 6px; }
.anyx-trace .said { font-family: ui-monospace, monospace; background: #8882; border-radius: 4px; padding: 1px 4px; }
#anyx-agent-box textarea { overflow-wrap: anywhere; }
.anyx-steps { list-style: none; margin: 0; padding: 0; font-size: .9rem; }
.anyx-steps li { border-left: 3px solid #6366f1; margin: 0 0 8px; padding: 2px 0 2px 10px; }
.anyx-steps li[data-kind=action] { border-color: #0ea5e9; } .anyx-steps li[data-kind=result] { border-color: #22c55e; }
.anyx-steps li[data-kind=error], .anyx-steps li[data-kind=stop] { border-color: #ef4444; }
.anyx-steps li[data-kind=value] { border-color: #eab308; font-size: 1rem; }
.anyx-steps p, .anyx-steps pre { display: block !important; margin: 2px 0; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.anyx-steps header span { opacity: .7; font-size: .8rem; font-variant-numeric: tabular-nums; }
.anyx-steps figure { margin: 4px 8px 4px 0; display: inline-block; max-width: 100%; vertical-align: top; }
.anyx-steps img, .anyx-steps video { max-width: min(100%, 320px); min-width: 96px; border-radius: 8px; }
#anyx-ground-shown img { cursor: crosshair; }
@media (max-width: 640px) {
  .gradio-container { padding: 6px !important; }
  #anyx-talk { height: 56vh !important; }
  #anyx-do { grid-template-columns: repeat(2, 1fr); }
}
"""
TOGGLE = "() => { document.body.classList.toggle('dark'); }"


def theme() -> gr.themes.Base:
    """Gradio's soft theme in the fonts that are there: nothing is fetched."""
    words, code = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
    return gr.themes.Soft(
        primary_hue="indigo",
        font=[gr.themes.Font(name) for name in words],
        font_mono=[gr.themes.Font(name) for name in code],
    )
