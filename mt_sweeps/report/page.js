"use strict";
// The figures name their colours as the style sheet does, and are drawn anew when these change, and for paper.
const places = [...document.querySelectorAll(".plot")];
const figures = places.map((place) => JSON.parse(place.closest("figure").querySelector("script").textContent));
const root = document.documentElement;

function coloured(value, style) {
  if (typeof value === "string") {
    const name = /^var\((--[a-z]+)\)$/.exec(value);
    return name ? style.getPropertyValue(name[1]).trim() : value;
  }
  if (Array.isArray(value)) return value.map((one) => coloured(one, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one, style)]));
}

function draw() {
  const style = getComputedStyle(root);
  places.forEach((place, i) => {
    const { data, layout } = coloured(figures[i], style);
    Plotly.react(place, data, { ...layout, width: place.clientWidth }, { displayModeBar: false });
  });
}

function printed(on) {
  root.classList.toggle("print", on);
  draw();
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("beforeprint", () => printed(true));
addEventListener("afterprint", () => printed(false));
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) draw();
  width = innerWidth;
});
