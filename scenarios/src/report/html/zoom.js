"use strict";
// Zoom by dragging over the timeline. Without this script the picture is whole and stands still.
(() => {
  const svg = document.getElementById("timeline");
  const plot = svg && svg.querySelector(".plot");
  if (!plot) return;
  const width = +svg.dataset.width, names = plot.x.baseVal.value;
  const scaled = plot.querySelector(".scaled"), moved = [...plot.querySelectorAll(".moved [data-x]")];
  const hatches = [...svg.querySelectorAll(".hatch")];
  const button = document.getElementById("whole"), hint = document.getElementById("hint");
  let from = 0, to = width;
  hint.hidden = false;
  const show = () => {
    const k = width / (to - from);
    scaled.setAttribute("transform", `scale(${k} 1) translate(${-from} 0)`);
    for (const one of moved) {
      const x = (one.dataset.x - from) * k;
      if (one.tagName === "g") one.setAttribute("transform", `translate(${x} 0)`);
      else {
        // A name stays at the left edge while what it names goes on.
        const room = one.dataset.room * k, seen = Math.max(x, Math.min(4, x + room - one.dataset.needs));
        one.setAttribute("x", seen);
        one.classList.toggle("no", +one.dataset.needs > room);
      }
    }
    for (const hatch of hatches) hatch.setAttribute("patternTransform", `scale(${1 / k} 1) rotate(45)`);
    button.hidden = k === 1;
  };
  const place = (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width - names;
    return from + Math.min(Math.max(x, 0), width) / width * (to - from);
  };
  let begun = null, mark = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button || event.clientX < svg.getBoundingClientRect().left + names / svg.viewBox.baseVal.width * svg.clientWidth) return;
    begun = place(event);
    mark = document.createElementNS(svg.namespaceURI, "rect");
    mark.setAttribute("class", "mark");
    mark.setAttribute("height", "100%");
    scaled.append(mark);
    svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  svg.addEventListener("pointermove", (event) => {
    if (!mark) return;
    const now = place(event);
    mark.setAttribute("x", Math.min(begun, now));
    mark.setAttribute("width", Math.abs(now - begun));
  });
  const end = (event) => {
    if (!mark) return;
    mark.remove();
    mark = null;
    const now = place(event);
    if (event.type === "pointerup" && Math.abs(now - begun) > (to - from) / 200) {
      [from, to] = [Math.min(begun, now), Math.max(begun, now)];
      show();
    }
  };
  svg.addEventListener("pointerup", end);
  svg.addEventListener("pointercancel", end);
  const whole = () => { [from, to] = [0, width]; show(); };
  svg.addEventListener("dblclick", whole);
  button.addEventListener("click", whole);
  // Paper shows everything.
  addEventListener("beforeprint", () => { whole(); document.querySelectorAll("details.paper").forEach((one) => (one.open = true)); });
})();
