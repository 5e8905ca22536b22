"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const canvas = document.getElementById("picture");
  const tip = document.getElementById("tip");
  const detail = document.getElementById("detail");
  const pen = canvas.getContext("2d");
  const FONT = "12px system-ui, sans-serif";
  const LEFT = 92, RIGHT = 14, ROW = 15;
  const lanes = [
    { key: "axis", name: "seconds", height: 26 },
    { key: "audio", name: "audio", height: 78 },
    { key: "words", name: "words", height: 24 },
    { key: "turns", name: "turns", height: 28 },
    { key: "position", name: data.role === "client" ? "pushed, sent" : "received", height: 64 },
    { key: "up", name: "\u2192 gateway", height: 12 + 3 * ROW },
    { key: "down", name: "\u2190 gateway", height: 12 + 4 * ROW },
    { key: "event", name: "events", height: 12 + 4 * ROW },
    { key: "call", name: "calls, facts", height: 12 + 3 * ROW },
    { key: "link", name: "link", height: 24 },
    { key: "session", name: "session", height: 24 },
    { key: "deadline", name: "deadline", height: 26 },
  ].filter((lane) => data.role === "client" || lane.key !== "link");
  let top = 0;
  for (const lane of lanes) { lane.top = top; top += lane.height; }
  const HEIGHT = top;
  const first = data.start, last = Math.max(data.end, first + 0.001);
  const margin = (last - first) * 0.02;
  const whole = [first - margin, last + margin * 2];
  let view = whole.slice(), width = 0, colour = {}, boxes = [], mouse = null, picked = -1, drag = null, drawn = false;
  const peaks = Uint8Array.from(atob(data.peaks), (letter) => letter.charCodeAt(0));

  // Where each stretch of audio lies on the clock: from when it was pushed, as long as it lasts or until the next one.
  const spans = [];
  data.curve.forEach(([at, pushed], index) => {
    const before = index ? data.curve[index - 1][1] : 0;
    if (pushed <= before) return;
    const next = data.curve.slice(index + 1, index + 200).find((point) => point[1] > pushed);
    spans.push([at, Math.min(at + pushed - before, next ? next[0] : Infinity), before, pushed]);
  });

  function clockOf(position) {
    let low = 0, high = spans.length - 1;
    if (high < 0) return null;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (spans[middle][3] < position) low = middle + 1; else high = middle;
    }
    const [from, to, begin, end] = spans[low];
    return from + (to - from) * Math.min(1, Math.max(0, (position - begin) / (end - begin)));
  }

  const x = (at) => LEFT + (at - view[0]) / (view[1] - view[0]) * (width - LEFT - RIGHT);
  const when = (pixel) => view[0] + (pixel - LEFT) / (width - LEFT - RIGHT) * (view[1] - view[0]);
  const lane = (key) => lanes.find((each) => each.key === key);

  function fit(text, room) {
    if (pen.measureText(text).width <= room) return text;
    let low = 0, high = text.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (pen.measureText(text.slice(0, middle) + "\u2026").width <= room) low = middle; else high = middle - 1;
    }
    return low ? text.slice(0, low) + "\u2026" : "";
  }

  function bar(at, until, y, height, fill, ink, text, box) {
    const from = Math.max(x(at), LEFT - 2), to = Math.min(x(until), width - RIGHT + 2);
    if (to < LEFT || from > width - RIGHT) return;
    pen.fillStyle = fill;
    pen.fillRect(from, y, Math.max(1.5, to - from - 1), height);
    if (text && to - from > 16) {
      pen.fillStyle = ink;
      pen.fillText(fit(text, to - from - 8), from + 4, y + height / 2);
    }
    boxes.push({ left: from, right: Math.max(to, from + 3), top: y, bottom: y + height, ...box });
  }

  function shadeOf(kind, label) {
    if (/^(error|unusable|raised|stream_failed|audio_dropped)/.test(label)) return colour.bad;
    if (/^(reconnecting|diagnostic|disconnect)/.test(label)) return colour.due;
    if (/^final_transcript/.test(label)) return colour.final;
    if (/^preflight_transcript/.test(label)) return colour.preflight;
    if (/^interim_transcript/.test(label)) return colour.interim;
    return kind === "up" ? colour.up : kind === "call" ? colour.call : colour.plain;
  }

  const MINOR = /^(interim_|transcript |ping|transport_alive|handle_timeout|recognition_usage|start_of_speech|end_of_speech)/;

  function drawAxis(place) {
    const span = view[1] - view[0];
    const rough = span / Math.max(2, (width - LEFT - RIGHT) / 90);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
    pen.textAlign = "center";
    for (let n = Math.ceil(view[0] / step); n * step <= view[1]; n++) {
      const pixel = x(n * step);
      if (pixel < LEFT) continue;
      pen.fillStyle = colour.faint;
      pen.fillRect(pixel, place.height, 1, HEIGHT - place.height);
      pen.fillStyle = colour.soft;
      pen.fillText((n * step).toFixed(digits), pixel, place.height / 2);
    }
    pen.textAlign = "left";
  }

  function drawAudio(place) {
    const middle = place.top + place.height / 2, half = place.height / 2 - 6;
    pen.fillStyle = colour.line;
    pen.fillRect(LEFT, middle, width - LEFT - RIGHT, 1);
    pen.fillStyle = colour.wave;
    const perSecond = data.seconds ? peaks.length / data.seconds : 0;
    for (const [from, to, begin, end] of spans) {
      const a = x(from), b = Math.max(x(to), x(from) + 1);
      if (b < LEFT || a > width - RIGHT) continue;
      for (let pixel = Math.max(LEFT, Math.floor(a)); pixel < Math.min(b, width - RIGHT); pixel++) {
        const low = Math.floor((begin + (end - begin) * Math.max(0, (pixel - a) / (b - a))) * perSecond);
        const high = Math.ceil((begin + (end - begin) * Math.min(1, (pixel + 1 - a) / (b - a))) * perSecond);
        let loud = 0;
        for (let n = low; n < Math.max(high, low + 1); n++) loud = Math.max(loud, peaks[n] || 0);
        const size = Math.max(0.5, Math.sqrt(loud / 255) * half);
        pen.fillRect(pixel, middle - size, 1, size * 2);
      }
    }
  }

  function drawPosition(place) {
    const high = Math.max(data.seconds, 0.001, ...data.curve.map((point) => point[2]));
    const y = (seconds) => place.top + place.height - 6 - seconds / high * (place.height - 14);
    [[1, colour.wave], [2, colour.sent]].forEach(([column, ink]) => {
      if (column === 2 && data.role !== "client") return;
      pen.strokeStyle = ink;
      pen.lineWidth = column === 1 ? 3 : 1.4;
      pen.beginPath();
      pen.moveTo(x(first), y(0));
      let level = 0;
      for (const point of data.curve) {
        pen.lineTo(x(point[0]), y(level));
        level = point[column];
        pen.lineTo(x(point[0]), y(level));
      }
      pen.lineTo(x(last), y(level));
      pen.stroke();
    });
    pen.lineWidth = 1;
    pen.fillStyle = colour.soft;
    pen.fillText(high.toFixed(2) + " s", LEFT + 4, place.top + 9);
  }

  function drawMarks(place) {
    const rows = Math.round((place.height - 12) / ROW), taken = Array.from({ length: rows }, () => []);
    if (place.key === "up") {
      pen.fillStyle = colour.audio;
      for (const at of data.messages) {
        const pixel = x(at);
        if (pixel >= LEFT && pixel <= width - RIGHT) pen.fillRect(pixel, place.top + place.height - 9, 1, 6);
      }
    }
    const marks = [];
    data.moments.forEach((moment, index) => moment.items.forEach((item) => {
      const pixel = x(moment.at);
      if (item.lane !== place.key || pixel < LEFT - 1 || pixel > width - RIGHT) return;
      const ink = shadeOf(place.key, item.label);
      const box = { index, title: item.label, body: item.detail };
      marks.push({ pixel, item, ink, box, minor: MINOR.test(item.label) });
      pen.globalAlpha = 0.45;
      pen.fillStyle = ink;
      pen.fillRect(pixel, place.top + 4, 1.5, place.height - 8);
      pen.globalAlpha = 1;
      boxes.push({ left: pixel - 4, right: pixel + 5, top: place.top, bottom: place.top + place.height, ...box });
    }));
    // What is frequent has a label only where everything else leaves room.
    for (const minor of [false, true]) {
      for (const mark of marks.filter((each) => each.minor === minor)) {
        const label = fit(mark.item.brief, 260), long = pen.measureText(label).width + 12;
        const left = mark.pixel + long > width - RIGHT ? mark.pixel - long : mark.pixel;
        const row = taken.findIndex((each) => each.every(([from, to]) => left + long < from || left > to));
        if (row < 0 || !label) continue;
        taken[row].push([left, left + long]);
        const y = place.top + 12 + row * ROW;
        pen.fillStyle = colour.panel;
        pen.fillRect(left + 2, y - 7, long - 4, 14);
        pen.fillStyle = mark.ink;
        pen.fillRect(mark.pixel, y - 6, 2, 12);
        pen.fillText(label, left + 6, y);
        boxes.push({ left, right: left + long, top: y - 7, bottom: y + 7, ...mark.box });
      }
    }
  }

  const STATES = {
    idle: "faint", new: "faint", connecting: "word", creating: "word", up: "turn", streaming: "turn",
    finalizing: "audio", backoff: "bad", dropping: "bad", failed: "bad", closing: "line", ended: "line", done: "line",
  };

  function drawStates(place) {
    const list = data.states[place.key];
    list.forEach(([at, value], index) => {
      const until = index + 1 < list.length ? list[index + 1][0] : last;
      const fill = STATES[value] || "faint";
      const ink = fill === "bad" ? colour.ground : colour.ink;
      const span = (until - at).toFixed(3);
      bar(at, until, place.top + 3, place.height - 6, colour[fill], ink, value, { title: value, body: `for ${span} s` });
    });
  }

  function drawDeadlines(place) {
    const y = place.top + place.height / 2;
    data.deadlines.forEach(([at, due], index) => {
      const until = index + 1 < data.deadlines.length ? data.deadlines[index + 1][0] : last;
      if (due === null) return;
      const from = Math.max(x(at), LEFT), to = Math.min(x(until), width - RIGHT);
      if (to < LEFT || from > width - RIGHT) return;
      pen.fillStyle = colour.line;
      pen.fillRect(from, y - 1, Math.max(1, to - from), 2);
      if (due <= until + 0.01) {
        pen.fillStyle = colour.due;
        pen.beginPath();
        pen.arc(Math.max(x(due), LEFT), y, 4, 0, 7);
        pen.fill();
      }
      const reached = due <= until + 0.01 ? "reached" : `put off at ${until.toFixed(3)}`;
      boxes.push({
        left: from, right: Math.max(to, from + 3), top: place.top, bottom: place.top + place.height,
        title: `deadline ${due.toFixed(3)}`, body: `set at ${at.toFixed(3)}, ${reached}`,
      });
    });
  }

  function draw() {
    drawn = false;
    boxes = [];
    pen.font = FONT;
    pen.textBaseline = "middle";
    pen.clearRect(0, 0, width, HEIGHT);
    pen.fillStyle = colour.panel;
    pen.fillRect(0, 0, width, HEIGHT);
    drawAxis(lane("axis"));
    pen.save();
    pen.beginPath();
    pen.rect(LEFT - 2, 0, width - LEFT - RIGHT + 4, HEIGHT);
    pen.clip();
    drawAudio(lane("audio"));
    const words = lane("words"), turns = lane("turns");
    for (const [start, end, text] of data.segments) {
      const at = clockOf(start), until = clockOf(end);
      if (at === null) continue;
      const body = `in the audio from ${start.toFixed(3)} to ${end.toFixed(3)} s`;
      bar(at, until, words.top + 3, words.height - 6, colour.word, colour.wordInk, text, { title: text, body });
    }
    for (const [at, end, text] of data.turns) {
      const until = end === null ? last : end;
      const body = `turn from ${at.toFixed(3)} to ${end === null ? "the end, still open" : end.toFixed(3)}`;
      bar(at, until, turns.top + 3, turns.height - 6, colour.turn, colour.turnInk, text, { title: text, body });
    }
    drawPosition(lane("position"));
    for (const key of ["up", "down", "event", "call"]) drawMarks(lane(key));
    for (const key of ["link", "session"]) if (lane(key)) drawStates(lane(key));
    drawDeadlines(lane("deadline"));
    pen.restore();
    lanes.forEach((place, index) => {
      pen.fillStyle = colour.line;
      if (index) pen.fillRect(0, place.top, width, 1);
      pen.fillStyle = colour.soft;
      pen.fillText(place.name, 12, place.top + place.height / 2);
    });
    if (data.different !== null) line(data.different, colour.bad);
    if (picked >= 0) line(data.moments[picked].at, colour.pick);
    if (mouse && mouse.x > LEFT && !drag) line(when(mouse.x), colour.soft, 0.6);
  }

  function line(at, ink, alpha = 1) {
    const pixel = x(at);
    if (pixel < LEFT || pixel > width - RIGHT) return;
    pen.globalAlpha = alpha;
    pen.fillStyle = ink;
    pen.fillRect(pixel, 0, 1, HEIGHT);
    pen.globalAlpha = 1;
  }

  function redraw() {
    if (!drawn) { drawn = true; requestAnimationFrame(draw); }
  }

  function resize() {
    const scale = window.devicePixelRatio || 1;
    width = canvas.clientWidth;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(HEIGHT * scale);
    canvas.style.height = HEIGHT + "px";
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ground", "panel", "line", "faint", "ink", "soft", "wave", "sent", "turn", "turn-ink", "word",
      "word-ink", "up", "audio", "final", "preflight", "interim", "plain", "bad", "call", "due", "pick"]) {
      colour[name.replace(/-(.)/, (_, letter) => letter.toUpperCase())] = style.getPropertyValue("--" + name).trim();
    }
    redraw();
  }

  function look(from, to) {
    const span = Math.min(Math.max(to - from, 0.002), (whole[1] - whole[0]) * 1.5);
    const middle = Math.min(Math.max((from + to) / 2, whole[0]), whole[1]);
    view = [middle - span / 2, middle + span / 2];
    redraw();
  }

  function zoom(factor, centre) {
    look(centre - (centre - view[0]) * factor, centre + (view[1] - centre) * factor);
  }

  function pan(share) {
    const by = (view[1] - view[0]) * share;
    look(view[0] + by, view[1] + by);
  }

  function hit(at) {
    for (let n = boxes.length - 1; n >= 0; n--) {
      const box = boxes[n];
      if (at.x >= box.left && at.x <= box.right && at.y >= box.top && at.y <= box.bottom) return box;
    }
    return null;
  }

  function tell(index) {
    const moment = data.moments[index];
    const audio = `audio pushed ${moment.pushed.toFixed(3)} s, sent ${moment.sent.toFixed(3)} s`;
    const items = moment.items.map((item) => `${item.lane.padEnd(9)}${item.label}\n${item.detail}`);
    return [`step ${moment.number} (line ${moment.line}), at ${moment.at.toFixed(6)} s; ${audio}`, ...items].join("\n\n");
  }

  function pick(index) {
    picked = Math.min(Math.max(index, 0), data.moments.length - 1);
    if (picked < 0) return;
    detail.textContent = tell(picked);
    const at = data.moments[picked].at;
    if (at < view[0] || at > view[1]) look(at - (view[1] - view[0]) / 2, at + (view[1] - view[0]) / 2);
    redraw();
  }

  const place = (event) => {
    const frame = canvas.getBoundingClientRect();
    return { x: event.clientX - frame.left, y: event.clientY - frame.top };
  };

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      pan((event.deltaX || event.deltaY) / 800);
    } else {
      zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 400))), when(place(event).x));
    }
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: place(event).x, view: view.slice(), moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", (event) => {
    const box = drag && !drag.moved ? hit(place(event)) : null;
    drag = null;
    if (box && box.index !== undefined) pick(box.index);
    else if (box) detail.textContent = `${box.title}\n\n${box.body}`;
  });
  canvas.addEventListener("pointermove", (event) => {
    mouse = place(event);
    if (drag) {
      const by = (drag.x - mouse.x) / (width - LEFT - RIGHT) * (drag.view[1] - drag.view[0]);
      drag.moved = drag.moved || Math.abs(drag.x - mouse.x) > 3;
      if (drag.moved) look(drag.view[0] + by, drag.view[1] + by);
      tip.hidden = true;
      return;
    }
    const box = hit(mouse);
    tip.hidden = mouse.x < LEFT;
    const clock = `${when(mouse.x).toFixed(3)} s`;
    const body = box ? box.body.split("\n") : [];
    const shown = body.length > 12 ? [...body.slice(0, 11), "\u2026 click for all"] : body;
    tip.textContent = box ? `${clock}  ${box.title}\n${shown.join("\n").slice(0, 700)}` : clock;
    tip.style.left = Math.max(0, Math.min(mouse.x + 14, width - tip.offsetWidth - 8)) + "px";
    const below = mouse.y + 18, above = mouse.y - tip.offsetHeight - 10;
    tip.style.top = (below + tip.offsetHeight > HEIGHT && above > 0 ? above : below) + "px";
    redraw();
  });
  canvas.addEventListener("pointerleave", () => { mouse = null; tip.hidden = true; redraw(); });
  canvas.addEventListener("dblclick", (event) => zoom(0.4, when(place(event).x)));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const centre = mouse && mouse.x > LEFT ? when(mouse.x) : (view[0] + view[1]) / 2;
    const deed = {
      ArrowLeft: () => pan(-0.15), ArrowRight: () => pan(0.15), "+": () => zoom(0.7, centre), "=": () => zoom(0.7, centre),
      "-": () => zoom(1 / 0.7, centre), 0: () => look(...whole), Home: () => look(first, first + view[1] - view[0]),
      End: () => look(last - view[1] + view[0], last), n: () => pick(picked + 1), p: () => pick(picked - 1),
    }[event.key];
    if (deed) { event.preventDefault(); tip.hidden = true; deed(); }
  });
  window.addEventListener("resize", resize);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", resize);
  resize();
})();
