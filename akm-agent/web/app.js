// What pages cannot do by themselves: copy, reveal for a moment, show tests as they go on, tips of charts.
//
// Nothing here turns text into markup (the policy forbids it), and no secret is kept: a revealed one is taken out of the
// page after a while, when the page is left and when it is hidden.
"use strict";
(() => {
  const base = document.body.dataset.base;
  const REVEAL_MS = 15000;
  const CLEAR_MS = 45000;
  const AT_ONCE = 4;
  const sentences = document.getElementById("sentences")?.dataset ?? {};
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  /** The sentence of a name, its braces filled in. */
  const say = (name, values = {}) =>
    (sentences[name] ?? name).replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));

  // A line at the foot of the window, read aloud as well.
  let quiet;
  const tell = (text, tone = "good") => {
    const place = document.getElementById("said");
    const line = document.createElement("p");
    line.className = "toast tone-" + tone;
    line.textContent = text;
    place.replaceChildren(line);
    clearTimeout(quiet);
    quiet = setTimeout(() => place.replaceChildren(), 6000);
  };

  /** Asks the agent; its answer, or an error with a sentence. */
  const ask = async (path, fields) => {
    let answer;
    try {
      answer = await fetch(base + "/" + path, {
        method: "POST",
        headers: { accept: "application/json" },
        body: new URLSearchParams(fields),
        redirect: "error",
      });
    } catch {
      throw new Error(say("failed"));
    }
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(answer.status === 423 ? say("locked") : (body.error ?? say("failed")));
    return body;
  };

  const rowOf = (element) => element.closest("[data-key]");
  const secretOf = (row) => ask("keys/secret", { name: row.dataset.key }).then((got) => got.secret);

  // Copying. The clipboard is cleared only where it may be read, so that nothing else is thrown away.
  const clearLater = (secret) =>
    setTimeout(async () => {
      try {
        const may = await navigator.permissions.query({ name: "clipboard-read" });
        if (may.state !== "granted" || (await navigator.clipboard.readText()) !== secret) return;
        await navigator.clipboard.writeText("");
        tell(say("cleared"));
      } catch {
        // Not every browser can be asked.
      }
    }, CLEAR_MS);

  for (const button of all("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const row = rowOf(button);
      button.setAttribute("aria-busy", "true");
      try {
        const secret = await secretOf(row);
        await navigator.clipboard.writeText(secret).catch(() => {
          throw new Error(say("noClipboard"));
        });
        clearLater(secret);
        tell(say("copied", { name: row.dataset.key }));
      } catch (error) {
        tell(error.message, "bad");
      }
      button.removeAttribute("aria-busy");
    });
  }

  // Revealing.
  const revealed = new Map();
  const hide = (button) => {
    const shown = revealed.get(button);
    if (!shown) return;
    clearTimeout(shown.timer);
    revealed.delete(button);
    shown.place.textContent = shown.place.dataset.secret;
    shown.place.classList.remove("is-shown");
    button.setAttribute("aria-pressed", "false");
    button.title = say("show");
  };
  for (const button of all("[data-reveal]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      if (revealed.has(button)) {
        hide(button);
        return;
      }
      const row = rowOf(button);
      const place = row.querySelector("[data-secret]");
      try {
        const secret = await secretOf(row);
        revealed.set(button, { place, timer: setTimeout(() => hide(button), REVEAL_MS) });
        place.textContent = secret;
        place.classList.add("is-shown");
        button.setAttribute("aria-pressed", "true");
        button.title = say("hide");
      } catch (error) {
        tell(error.message, "bad");
      }
    });
  }
  const hideAll = () => [...revealed.keys()].forEach(hide);
  document.addEventListener("visibilitychange", () => document.hidden && hideAll());
  addEventListener("pagehide", hideAll);

  // Tests.
  const badge = (tone, text) => {
    const mark = document.createElement("span");
    mark.className = "badge tone-" + tone;
    mark.textContent = text;
    return mark;
  };
  const test = async (row) => {
    const place = row.querySelector("[data-outcome]");
    const detail = row.querySelector("[data-detail]");
    const button = row.querySelector("[data-test] button");
    button?.setAttribute("aria-busy", "true");
    place.replaceChildren(badge("busy", "…"));
    let tone = "bad";
    try {
      const tested = await ask("keys/test", { name: row.dataset.key });
      tone = tested.tone;
      place.replaceChildren(badge(tested.tone, tested.text));
      place.title = tested.detail;
      if (detail) detail.textContent = tested.detail;
    } catch (error) {
      place.replaceChildren(badge("bad", "!"));
      place.title = error.message;
      if (detail) detail.textContent = error.message;
      else tell(error.message, "bad");
    }
    button?.removeAttribute("aria-busy");
    return tone !== "bad";
  };
  for (const form of all("form[data-test]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      test(rowOf(form));
    });
  }
  for (const button of all("[data-test-all]")) {
    const rows = all(".keys [data-key]").filter((row) => row.querySelector("[data-test]"));
    if (!rows.length) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const frame = document.getElementById("progress");
      const [text, bar] = [frame.querySelector(".progress-text"), frame.querySelector("progress")];
      const total = rows.length;
      const waiting = [...rows];
      let [done, bad] = [0, 0];
      const draw = () => {
        bar.max = total;
        bar.value = done;
        text.textContent = say("testing", { done, total });
      };
      button.disabled = true;
      frame.hidden = false;
      draw();
      const work = async () => {
        for (let row = waiting.shift(); row; row = waiting.shift()) {
          if (!(await test(row))) bad += 1;
          done += 1;
          draw();
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      text.textContent = say("tested", { done, total, bad });
      tell(text.textContent, bad ? "bad" : "good");
      button.disabled = false;
    });
  }

  // Files, for the text area beside them: what is no text as base64. Of a hand-over each line goes by itself, so that its size
  // does not matter.
  const MAX_FORM = 180 * 1024;
  const base64 = (bytes) => {
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
  };
  for (const chosen of all("[data-file]")) {
    const form = chosen.form;
    chosen.closest("[data-file-field]").hidden = false;
    if (form.matches("[data-pieces]")) continue;
    chosen.addEventListener("change", async () => {
      const bytes = new Uint8Array((await chosen.files[0]?.arrayBuffer()) ?? []);
      form.elements.content.value = form.elements.sealed.value = "";
      if (bytes.length > MAX_FORM) {
        chosen.value = "";
        return tell(say("tooLarge"), "bad");
      }
      try {
        form.elements.content.value = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      } catch {
        form.elements.sealed.value = base64(bytes);
      }
    });
  }
  for (const form of all("form[data-pieces]")) {
    form.addEventListener(
      "submit",
      async (event) => {
        const chosen = form.querySelector("[data-file]").files[0];
        if (!chosen) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        if (form.dataset.sent) return;
        form.dataset.sent = "1";
        const [frame, button] = [form.querySelector("[data-progress]"), form.querySelector("button[type=submit]")];
        const bar = frame.querySelector("progress");
        const stop = (text) => {
          delete form.dataset.sent;
          frame.hidden = true;
          button.removeAttribute("aria-busy");
          tell(text, "bad");
        };
        button.setAttribute("aria-busy", "true");
        frame.hidden = false;
        try {
          const [title, ...pieces] = (await chosen.text()).split("\n").map((line) => line.trim()).filter(Boolean);
          if (!title?.startsWith("akm-handover-") || !pieces.length) return stop(say("noHandover"));
          bar.max = pieces.length;
          let [handover, refused] = ["", []];
          for (const [index, content] of pieces.entries()) {
            const told = await ask("move/piece", handover ? { handover, content } : { content });
            handover = told.handover;
            refused = told.refused;
            bar.value = index + 1;
          }
          if (refused.length) return stop(say("refused", { names: refused.join(", ") }));
          form.elements.handover.value = handover;
          form.elements.content.value = "";
          form.submit();
        } catch (error) {
          stop(error.message);
        }
      },
      { capture: true },
    );
  }

  // What is wider than the window begins where somebody looks first: the newest of a chart, the room one is in.
  for (const frame of all("[data-newest]")) frame.scrollLeft = frame.scrollWidth;
  const here = document.querySelector(".side nav [aria-current]");
  if (here) {
    const rooms = here.closest("nav");
    rooms.scrollLeft = Math.max(0, here.offsetLeft + here.offsetWidth + 24 - rooms.clientWidth);
  }

  // A form that takes a while says so, and is sent once.
  for (const form of all("form[data-busy]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) {
        event.preventDefault();
        return;
      }
      form.dataset.sent = "1";
      all("button[type=submit]", form).forEach((button) => button.setAttribute("aria-busy", "true"));
    });
  }
  addEventListener("pageshow", () => {
    for (const form of all("form[data-sent]")) {
      delete form.dataset.sent;
      all("button[aria-busy]", form).forEach((button) => button.removeAttribute("aria-busy"));
    }
  });

  for (const select of all("select[data-auto]")) select.addEventListener("change", () => select.form.requestSubmit());

  // "/" leads to the search, as in many places.
  const search = document.querySelector("[data-slash]");
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || !search) return;
    event.preventDefault();
    search.focus();
    search.select();
  });

  // Times in the reader's own zone and words.
  const minutes = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  for (const time of all("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.textContent;
    time.textContent = minutes.format(at);
  }

  // Tips of a chart: under the pointer, or along it with the arrow keys.
  for (const chart of all("[data-chart]")) {
    const tip = chart.parentElement.querySelector("[data-tip-of]");
    const days = all("[data-tip]", chart);
    let at = days.length;
    const show = (index) => {
      days[at]?.classList.remove("is-at");
      at = index;
      const day = days[at];
      tip.hidden = !day;
      if (!day) return;
      day.classList.add("is-at");
      tip.textContent = day.dataset.tip;
      tip.classList.toggle("is-left", at < days.length / 2);
    };
    days.forEach((day, index) => day.addEventListener("pointerenter", () => show(index)));
    chart.addEventListener("pointerleave", () => show(days.length));
    chart.addEventListener("blur", () => show(days.length));
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(Math.min(days.length - 1, Math.max(0, at + step)));
    });
  }
})();
