// A picture to draw on. Strokes are plain objects {points: [[x, y], …], ab: [a, b] or null, radius}, as in
// colorlib/strokes.py; boxes are [left, top, right, bottom]. All positions are shares of width and height.
const SIDE = 132, REACH = 110;  // of the color picker: pixels, Lab units

// Lab (D65) to sRGB in 0 … 1; values outside are colors that no screen shows.
function labToRgb(L, a, b) {
  const fy = (L + 16) / 116, f = [fy + a / 500, fy, fy - b / 200];
  const [x, y, z] = f.map((t, i) => [0.95047, 1, 1.08883][i] * (t ** 3 > 0.008856 ? t ** 3 : (t - 16 / 116) / 7.787));
  const linear = [
    3.240479 * x - 1.53715 * y - 0.498535 * z, -0.969256 * x + 1.875992 * y + 0.041556 * z,
    0.055648 * x - 0.204043 * y + 1.057311 * z,
  ];
  return linear.map((c) => (c > 0.0031308 ? 1.055 * c ** (1 / 2.4) - 0.055 : 12.92 * c));
}
const inGamut = (rgb) => rgb.every((c) => c > -0.002 && c < 1.002);
const css = (rgb) => `rgb(${rgb.map((c) => Math.round(255 * Math.min(1, Math.max(0, c)))).join(",")})`;
function lightness([red, green, blue]) {
  const [r, g, b] = [red, green, blue].map((v) => (v > 10 ? ((v / 255 + 0.055) / 1.055) ** 2.4 : v / 255 / 12.92));
  const y = 0.212671 * r + 0.71516 * g + 0.072169 * b;
  return y > 0.008856 ? 116 * Math.cbrt(y) - 16 : 903.3 * y;
}
// The nearest color toward gray that a screen shows at this lightness.
function fit(L, [a, b]) {
  for (let share = 1; share > 0; share -= 0.02) {
    const rgb = labToRgb(L, share * a, share * b);
    if (inGamut(rgb)) return rgb;
  }
  return labToRgb(L, 0, 0);
}

function render({ model, el }) {
  const make = (tag, parent, properties = {}) => parent.appendChild(Object.assign(document.createElement(tag), properties));
  const root = make("div", el, { className: "t-strokes" });
  root.style.cssText = "display: flex; flex-wrap: wrap; gap: 8px; align-items: flex-start";
  const canvas = make("canvas", root, { tabIndex: 0, className: "t-canvas" }), large = model.get("large");
  canvas.style.cssText = "max-width: 100%; touch-action: none; cursor: crosshair; outline-offset: 2px";
  if (large) canvas.style.flex = "100 1 300px";  // the tools stand beside it, or below where there is no room
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "Picture to draw on. Arrow keys move the brush, space puts it down and lifts it, " +
    "U undoes, E erases, plus and minus change the size.");
  const side = make("div", root);
  side.style.cssText = "display: flex; flex-flow: column; gap: 4px; font: 13px sans-serif";
  if (large) side.style.cssText = "flex: 1 1 140px; display: flex; flex-flow: row wrap; gap: 4px 12px; font: 13px sans-serif";
  const boxes = model.get("mode") === "boxes";
  const picker = make("canvas", side, { width: SIDE, height: SIDE, tabIndex: 0, className: "t-picker" });
  picker.style.cssText = "cursor: pointer; touch-action: none; border: 1px solid #bbb; border-radius: 50%";
  picker.setAttribute("role", "application");
  picker.setAttribute("aria-label", "Colors that exist at the lightness under the brush. Arrow keys change a and b.");
  const label = make("div", side, { className: "t-color" });
  const buttons = make("div", side);
  const button = (text, name, act) => {
    const one = make("button", buttons, { textContent: text, className: `jupyter-button widget-button t-${name}` });
    one.style.cssText = "width: auto; margin: 0 4px 4px 0";
    one.onclick = act;
    return one;
  };
  const size = make("input", make("label", side, { textContent: "size " }), {
    type: "range", min: 0.004, max: 0.06, step: 0.002, value: model.get("radius"), className: "t-size",
  });
  size.style.width = "90px";
  if (boxes) [picker, label, size.parentNode].forEach((part) => { part.style.display = "none"; });

  const picture = new Image(), context = canvas.getContext("2d");
  let pixels = null, current = null, fresh = null, down = false, erasing = false, cursor = [0.5, 0.5], L = 50, listening = true;
  const short = () => Math.min(canvas.width, canvas.height);
  const items = () => model.get(boxes ? "boxes" : "strokes");
  const store = (list, added = null) => { fresh = added; model.set(boxes ? "boxes" : "strokes", list); model.save_changes(); draw(); };

  function lightnessAt([x, y]) {
    if (!pixels) return 50;
    const column = Math.min(canvas.width - 1, Math.floor(x * canvas.width));
    const row = Math.min(canvas.height - 1, Math.floor(y * canvas.height));
    return lightness(pixels.slice(4 * (row * canvas.width + column)));
  }
  function drawLine(points, width, color, dash) {
    context.lineWidth = width;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = color;
    context.setLineDash(dash);
    context.beginPath();
    points.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x * canvas.width, y * canvas.height));
    const [x, y] = points[0];
    if (points.length === 1) context.lineTo(x * canvas.width + 0.01, y * canvas.height);
    context.stroke();
    context.setLineDash([]);
  }
  function drawStroke({ points, ab, radius }, taken = false) {
    const thin = Math.max(1.5, canvas.width / 600);
    if (taken) {
      drawLine(points, 2 * thin, "#000", []);
      drawLine(points, thin, "#fff", ab ? [] : [4 * thin, 4 * thin]);
    } else {
      drawLine(points, Math.max(2, 2 * radius * short()), ab ? css(fit(lightnessAt(points[0]), ab)) : "#fff", ab ? [] : [4, 8]);
    }
  }
  function drawBox([left, top, right, bottom], number) {
    const place = [left * canvas.width, top * canvas.height];
    context.lineWidth = 2;
    context.strokeStyle = "#D55E00";
    context.strokeRect(...place, (right - left) * canvas.width, (bottom - top) * canvas.height);
    context.fillStyle = "#D55E00";
    context.font = "bold 14px sans-serif";
    context.fillText(number + 1, place[0] + 3, place[1] + 14);
  }
  function draw() {
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    [...items(), ...(current ? [current] : [])].forEach((item, i, all) => {
      if (boxes) drawBox(item, i); else drawStroke(item, large && item !== current && !(fresh && i === all.length - 1));
    });
    if (document.activeElement === canvas) {
      context.lineWidth = 1;
      for (const [color, grow] of [["#000", 0], ["#fff", 1.5]]) {
        context.strokeStyle = color;
        context.beginPath();
        const radius = boxes ? 4 : Math.max(2, size.value * short());
        context.arc(cursor[0] * canvas.width, cursor[1] * canvas.height, radius + grow, 0, 7);
        context.stroke();
      }
    }
  }
  function drawPicker() {
    const plane = picker.getContext("2d"), image = plane.createImageData(SIDE, SIDE), ab = model.get("ab");
    for (let i = 0; i < SIDE * SIDE; i++) {
      const a = ((i % SIDE) / (SIDE - 1) * 2 - 1) * REACH, b = (1 - Math.floor(i / SIDE) / (SIDE - 1) * 2) * REACH;
      const rgb = labToRgb(L, a, b);
      if (inGamut(rgb)) image.data.set([...rgb.map((c) => 255 * Math.min(1, Math.max(0, c))), 255], 4 * i);
    }
    plane.putImageData(image, 0, 0);
    plane.beginPath();
    plane.arc((ab[0] / REACH + 1) / 2 * SIDE, (1 - ab[1] / REACH) / 2 * SIDE, 4, 0, 7);
    plane.strokeStyle = L > 50 ? "#000" : "#fff";
    plane.lineWidth = 2;
    plane.stroke();
    label.innerHTML = `<span style="display:inline-block;width:14px;height:14px;border:1px solid #888;` +
      `background:${css(fit(L, ab))}"></span> L ${Math.round(L)}, a ${Math.round(ab[0])}, b ${Math.round(ab[1])}`;
  }
  function choose(ab) {  // keep to colors that exist at this lightness
    let share = 1;
    while (share > 0 && !inGamut(labToRgb(L, share * ab[0], share * ab[1]))) share -= 0.02;
    model.set("ab", ab.map((value) => Math.round(Math.max(0, share) * value)));
    model.save_changes();
    drawPicker();
  }
  const place = (event, of) => {
    const rect = of.getBoundingClientRect();
    return [(event.clientX - rect.left) / rect.width, (event.clientY - rect.top) / rect.height]
      .map((share) => Math.round(1e4 * Math.min(1, Math.max(0, share))) / 1e4);
  };

  function erase([x, y]) {
    const near = ([u, v]) => Math.hypot((u - x) * canvas.width, (v - y) * canvas.height);
    const touched = (stroke) => stroke.points.some((point, i) => {  // also between two points
      const [px, py] = stroke.points[Math.max(0, i - 1)];
      return [0, 0.25, 0.5, 0.75, 1].some((t) => near([px + t * (point[0] - px), py + t * (point[1] - py)])
        <= (stroke.radius + Number(size.value)) * short());
    });
    const hit = boxes ? ([l, t, r, b]) => x >= l && x <= r && y >= t && y <= b : touched;
    const left = items().filter((item) => !hit(item));
    if (left.length < items().length) store(left);
  }
  function start(at) {
    down = true;
    if (erasing) return erase(at);
    current = boxes ? [...at, ...at] : { points: [at], ab: model.get("keep") ? null : [...model.get("ab")], radius: Number(size.value) };
    draw();
  }
  function move(at) {
    cursor = at;
    if (!down) {
      L = lightnessAt(at);
      if (!boxes) drawPicker();
    } else if (erasing) {
      erase(at);
    } else if (boxes) {
      current.splice(2, 2, ...at);
    } else {
      current.points.push(at);
    }
    draw();
  }
  function stop() {
    if (!down) return;
    down = false;
    let done = current;
    current = null;
    if (done && boxes) {
      const [x0, y0, x1, y1] = done;
      done = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
      if (done[2] - done[0] < 0.01 || done[3] - done[1] < 0.01) done = null;
    }
    if (done) store([...items(), done], done); else draw();
  }
  canvas.onpointerdown = (event) => {
    event.preventDefault();
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    cursor = place(event, canvas);
    L = lightnessAt(cursor);
    start(cursor);
  };
  canvas.onpointermove = (event) => move(place(event, canvas));
  canvas.onpointerup = canvas.onpointercancel = stop;
  canvas.onblur = () => { stop(); draw(); };
  canvas.onfocus = draw;
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.onkeydown = (event) => {
    const step = arrows[event.key], act = { u: undo, z: undo, e: toggle }[event.key.toLowerCase()];
    if (step) {
      move(cursor.map((value, i) => Math.min(1, Math.max(0, value + step[i] * (event.shiftKey ? 0.05 : 0.01)))));
    } else if (event.key === " " || event.key === "Enter") {
      if (down) stop(); else start(cursor);
    } else if (event.key === "+" || event.key === "-") {
      size.value = Number(size.value) + (event.key === "+" ? 0.004 : -0.004);
      draw();
    } else if (act) {
      act();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();  // Jupyter has shortcuts on these keys, too
  };
  let picking = false;
  const pick = (event) => { const [x, y] = place(event, picker); choose([(2 * x - 1) * REACH, (1 - 2 * y) * REACH]); };
  picker.onpointerdown = (event) => { picking = true; picker.setPointerCapture(event.pointerId); pick(event); };
  picker.onpointermove = (event) => { if (picking) pick(event); };
  picker.onpointerup = picker.onpointercancel = () => { picking = false; };
  picker.onkeydown = (event) => {
    const step = arrows[event.key];
    if (!step) return;
    choose(model.get("ab").map((value, i) => value + 4 * step[i] * (i ? -1 : 1)));
    event.preventDefault();
    event.stopPropagation();
  };

  const undo = () => store(items().slice(0, -1));
  const toggle = () => {
    erasing = !erasing;
    eraser.setAttribute("aria-pressed", erasing);
    eraser.style.fontWeight = erasing ? "bold" : "";
    eraser.textContent = erasing ? "✓ Eraser" : "Eraser";
  };
  button("Undo", "undo", undo);
  const eraser = button("Eraser", "eraser", toggle);
  button("Clear", "clear", () => store([]));

  const load = () => {
    const bytes = model.get("picture");
    const url = URL.createObjectURL(new Blob([bytes]));
    picture.onload = () => {
      if (!listening) return;
      [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
      context.drawImage(picture, 0, 0);
      pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
      if (large) canvas.style.maxWidth = `min(100%, ${80 * canvas.width / canvas.height}vh, ${2 * canvas.width}px)`;
      fresh = null;
      URL.revokeObjectURL(url);
      L = lightnessAt(cursor);
      if (!boxes) drawPicker();
      draw();
      root.dataset.ready = "true";
    };
    picture.src = url;
  };
  model.on("change:picture", load);
  model.on("change:strokes", draw);
  model.on("change:boxes", draw);
  model.on("change:ab", drawPicker);
  load();
  return () => {
    listening = false;
    for (const [name, act] of [["picture", load], ["strokes", draw], ["boxes", draw], ["ab", drawPicker]]) {
      model.off(`change:${name}`, act);
    }
  };
}
export default { render };
