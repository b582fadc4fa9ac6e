// Renders the formulas of a page. Without JavaScript they stay readable as TeX.
document.querySelectorAll(".arithmatex").forEach((element) => {
  const tex = element.textContent.trim();
  const displayMode = tex.startsWith("\\[");
  katex.render(tex.slice(2, -2), element, { displayMode, throwOnError: false });
});
