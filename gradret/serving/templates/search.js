// Asks the server and shows the systems side by side. Every text of the run becomes a text node, never HTML.
(() => {
  "use strict";

  const ORDER = ["base", "tuned", "bm25", "hybrid"];
  const NAMES = { base: "Base model", tuned: "Tuned model", bm25: "BM25", hybrid: "Hybrid: tuned + BM25", teacher: "Teacher" };
  const PAUSE = 300; // milliseconds without a key before what was typed is searched
  const TOP = 10;
  const at = (id) => document.getElementById(id);

  let token = ""; // of this page only: not in its address, nor kept when it is closed
  let systems = [];
  let asked = null; // the request under way
  let timer = 0;

  const node = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const say = (text, bad = false) => {
    at("status").textContent = text;
    at("status").className = bad ? "bad" : "";
  };

  const ask = async (path, options = {}) => {
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    const response = await fetch(path, { ...options, headers });
    const type = response.headers.get("content-type") ?? "";
    const answer = type.startsWith("application/json") ? await response.json() : { error: `HTTP ${response.status}` };
    if (response.ok) return answer;
    if (response.status === 401) at("access").hidden = false;
    throw new Error(answer.expected ? `${answer.error}; expected ${answer.expected}, came ${answer.came}` : answer.error);
  };

  // Spans count code points, and JavaScript's strings count half of some of them.
  const marked = (text, spans) => {
    const letters = Array.from(text);
    const parts = [];
    let end = 0;
    for (const [from, to] of spans) {
      parts.push(letters.slice(end, from).join(""), node("mark", {}, letters.slice(from, to).join("")));
      end = to;
    }
    return [...parts, letters.slice(end).join("")];
  };

  // A name such as module.class_name may be broken after each part.
  const name = (text) => text.split(/(?<=[._/:-])/).flatMap((part) => [part, node("wbr", {})]);

  const moved = (hit) => {
    if (hit.base_rank === null) return node("span", { class: "moved up" }, "▲ not in base's first 100");
    const places = hit.base_rank - hit.rank;
    if (places > 0) return node("span", { class: "moved up" }, `▲ up ${places}, from ${hit.base_rank}`);
    if (places < 0) return node("span", { class: "moved down" }, `▼ down ${-places}, from ${hit.base_rank}`);
    return node("span", {}, "as in base");
  };

  const shown = (hit, compared) => {
    const about = node("p", { class: "about" }, ...(compared ? [moved(hit), " · "] : []), `score\u00a0${hit.score.toFixed(4)}`);
    if (hit.title && hit.title !== hit.doc_id) about.append(" · ", node("code", {}, ...name(hit.doc_id)));
    const rank = node("span", { class: "rank" }, String(hit.rank));
    const title = node("h3", {}, rank, node("span", { dir: "auto" }, ...name(hit.title || hit.doc_id)));
    return node("li", {}, title, about, node("p", { dir: "auto" }, ...marked(hit.text, hit.highlights)));
  };

  const column = (system, hits, compared) => {
    const list = node("ol", { role: "list" }, ...hits.map((hit) => shown(hit, compared && system !== "base")));
    const title = node("h2", { id: `of-${system}` }, NAMES[system] ?? system);
    const none = node("p", { class: "note" }, "No document: it knows no word of the query.");
    return node("section", { class: system, "aria-labelledby": `of-${system}` }, title, hits.length ? list : none);
  };

  const search = async () => {
    clearTimeout(timer);
    asked?.abort();
    const query = at("query").value.trim();
    if (!query || !systems.length) {
      at("results").replaceChildren();
      say("");
      return;
    }
    const own = (asked = new AbortController());
    const started = performance.now();
    say("Searching …");
    try {
      const body = JSON.stringify({ q: query, system: systems, top: TOP });
      const headers = { "Content-Type": "application/json" };
      const answer = await ask("search", { method: "POST", body, headers, signal: own.signal });
      const columns = systems.map((name) => column(name, answer.systems[name], systems.includes("base")));
      at("results").replaceChildren(...columns);
      say(`${systems.length} systems, up to ${answer.top} documents each, ${Math.round(performance.now() - started)} ms.`);
    } catch (error) {
      if (!own.signal.aborted) say(`Not searched: ${error.message}.`, true);
    }
  };

  const describe = (about) => {
    const inner = [about.model.encoder, about.model.model?.replace(/^package:/, "")].filter(Boolean).join(" ");
    at("run").textContent = about.run;
    at("facts").textContent = `${about.documents.toLocaleString("en")} documents · ${inner}, ${about.model.dimension} dimensions`;
    document.title = `${about.run} · gradret search`;
    systems = [...ORDER.filter((name) => about.systems.includes(name)), ...about.systems.filter((name) => !ORDER.includes(name))];
    const measures = Object.keys(Object.values(about.metrics)[0] ?? {});
    const heading = (scope, text, classes) => node("th", { scope, class: classes }, text);
    const number = (value) => node("td", { class: "n" }, typeof value === "number" ? value.toFixed(4) : "–");
    at("measures").querySelector("thead").replaceChildren(
      node("tr", {}, heading("col", "System", ""), ...measures.map((name) => heading("col", name, "n"))),
    );
    at("measures").querySelector("tbody").replaceChildren(
      ...Object.entries(about.metrics).map(([name, values]) =>
        node("tr", {}, heading("row", NAMES[name] ?? name, ""), ...measures.map((measure) => number(values[measure]))),
      ),
    );
    at("measures").hidden = !measures.length;
  };

  const open = async () => {
    try {
      describe(await ask("about"));
      at("access").hidden = true;
      say("");
      await search();
    } catch (error) {
      say(`Not opened: ${error.message}.`, true);
    }
  };

  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  at("query").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });
  at("access").addEventListener("submit", (event) => {
    event.preventDefault();
    token = at("token").value.trim();
    at("token").value = "";
    open().then(() => at("query").focus());
  });

  const start = async () => {
    try {
      const health = await ask("health");
      at("access").hidden = !health.token;
      if (!health.token) await open();
      else at("token").focus();
    } catch (error) {
      say(`The server does not answer: ${error.message}.`, true);
    }
  };
  at("query").focus();
  start();
})();
