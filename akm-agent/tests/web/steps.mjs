// What a person does on any dashboard: fill a form, send it, go somewhere, walk with the tab key.
import assert from "node:assert/strict";

export const PASSPHRASE = "correct horse battery staple";

export const fill = async (page, fields) => {
  for (const [name, value] of Object.entries(fields)) await page.fill(`main [name=${name}]`, value);
};

/** Sends the form of the page that leads to this path. */
export const send = (page, path) =>
  Promise.all([page.waitForEvent("framenavigated"), page.click(`form[action$="/${path}"] button[type=submit]:not(details button)`)]).then(() => page.waitForLoadState("load"));

export const goto = async (page, path) => {
  const base = await page.evaluate(() => document.body.dataset.base);
  await page.goto(new URL(base + "/" + path, page.url()).href);
};

export const addKey = async (page, fields, { test = false } = {}) => {
  await goto(page, "keys/new");
  await page.evaluate(() => document.querySelector("details.more").setAttribute("open", ""));
  await fill(page, fields);
  await page.setChecked("[name=test]", test);
  await send(page, "keys/new");
};

/** Says whether the page says this, in the language of the walk. */
export const expects = (page, { lang, width }) => async (english, chinese) => {
  const text = await page.innerText("body");
  assert.ok(text.includes(lang === "zh" ? chinese : english), `${lang} ${width}: ${english}\n${text}`);
};

/** Goes on with the tab key until this has the focus, which is to be seen. */
export const tabbing = (page) => async (selector) => {
  for (let step = 0; step < 60; step += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) {
      const seen = await page.evaluate(() => {
        const [box, style] = [document.activeElement.getBoundingClientRect(), getComputedStyle(document.activeElement)];
        return box.width > 0 && box.left >= 0 && style.outlineStyle !== "none";
      });
      assert.ok(seen, `the focus on ${selector} is seen`);
      return;
    }
  }
  assert.fail(`the tab key does not lead to ${selector}`);
};

/** The control of all looking: a page that does what no page may is noticed. */
export const control = async ({ context, page, look }, faults) => {
  await page.setContent(`<main><img src="data:,x"><p style="width:900px;color:#ccc;background:#fff">pale</p><script>globalThis.__canary=true</script></main>`);
  await look("control");
  await context.close();
  const kinds = ["a canary ran", "wider than the window", "axe serious color-contrast", "axe critical image-alt"];
  for (const kind of kinds) assert.ok(faults.some((fault) => fault.includes(kind)), `the control shows: ${kind}\n${faults.join("\n")}`);
  faults.length = 0;
};
