// Faults of the page as it is laid out now, as texts. An open page is given by the tests.
() => {
  const faults = [];
  const width = document.documentElement.clientWidth;
  const say = (node) => JSON.stringify(node.textContent.trim().slice(0, 40));
  if (document.documentElement.scrollWidth > width) faults.push(`the page is ${document.documentElement.scrollWidth} wide`);

  const lines = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const parent = node.parentElement;
    if (!node.textContent.trim() || parent.closest("script, style, title") || !parent.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) if (box.width > 1 && box.height > 1) lines.push([box, node]);
  }

  lines.sort((a, b) => a[0].top - b[0].top);
  lines.forEach(([a, node], number) => {
    for (const [b, other] of lines.slice(number + 1)) {
      if (b.top > a.bottom - 3) break;
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (node !== other && across > 1.5 && down > 3) faults.push(`${say(node)} overlaps ${say(other)}`);
    }
    // What scrolls may reach beyond its frame, but not beyond the page.
    const frame = node.parentElement.closest("thead, tbody, pre")?.closest(".scroll, pre");
    const scrolls = frame && getComputedStyle(frame).overflowX === "auto";
    if (!scrolls && (a.left < -1 || a.right > width + 1)) faults.push(`${say(node)} is cut off`);
  });

  for (const text of document.querySelectorAll("svg text")) {
    const scale = text.getScreenCTM();
    const size = parseFloat(getComputedStyle(text).fontSize) * Math.hypot(scale.a, scale.b);
    if (text.checkVisibility() && size < 12) faults.push(`${say(text)} has ${size.toFixed(1)} pixels`);
  }

  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).slice(0, 3).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      const [, , , alpha = 1] = channels(colour);
      if (alpha === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  for (const [, node] of lines) {
    const style = getComputedStyle(node.parentElement);
    const inPlot = node.parentElement.closest("svg");
    const [a, b] = [luminance(inPlot ? style.fill : style.color), luminance(ground(node.parentElement))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faults.push(`${say(node)} has a contrast of ${contrast.toFixed(1)}`);
  }
  return faults;
};
