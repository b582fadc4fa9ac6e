// Starts both panels, and draws again when the width or the theme changes.

const DATA = JSON.parse(byId("data").textContent);
document.documentElement.classList.add("scripted");
const plane = planePanel(), line = linePanel();
let widthBefore = innerWidth;

function drawAll() {
  plane.redraw();
  line.draw();
}

addEventListener("resize", () => {
  if (innerWidth !== widthBefore) requestAnimationFrame(drawAll); // a phone's address bar changes the height alone
  widthBefore = innerWidth;
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
if (location.hash === "#selftest") selfTest(plane, line);
