// A browser that notices what must not happen on any page: a violation of the policy, an error of a script, a
// canary that ran, a page wider than the window, a serious finding of axe.
import { createHmac } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SHOTS = process.env.AKM_SHOTS;
mkdirSync(SHOTS, { recursive: true });

export const launch = () =>
  chromium.launch({ executablePath: process.env.AKM_CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });

/** What was wrong on pages, in words; a walk ends with none. */
export const faults = [];
export let looked = 0;

export const window = async (browser, { lang, width, dark = false, asks = true }) => {
  const context = await browser.newContext({
    locale: lang === "zh" ? "zh-CN" : "en-US",
    viewport: { width, height: width < 500 ? 740 : 900 },
    colorScheme: dark ? "dark" : "light",
    permissions: ["clipboard-read", "clipboard-write"],
    // The certificate of a server in a test is signed by an authority of tests.
    ignoreHTTPSErrors: true,
  });
  await context.addInitScript(() => {
    globalThis.__violations = [];
    addEventListener("securitypolicyviolation", (event) =>
      globalThis.__violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`),
    );
  });
  // Put there by the debugger: the policy of the pages lets no script in.
  await context.addInitScript({ content: AXE });
  context.setDefaultTimeout(120_000);
  const page = await context.newPage();
  const where = () => `${lang} ${width}${dark ? " dark" : ""} ${new URL(page.url()).pathname.replace(/^\/[a-z0-9]{32}/, "")}`;
  page.on("pageerror", (error) => faults.push(`${where()}: ${error.message}`));
  page.on("console", (line) => {
    const expected = /status of (4\d\d)/.test(line.text());
    if (line.type() === "error" && !expected) faults.push(`${where()}: ${line.text()}`);
  });
  page.on("dialog", (dialog) => {
    faults.push(`${where()}: a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });

  /** Looks at the page as it is: picture, width, policy, axe. */
  const look = async (name, { axe = true } = {}) => {
    looked += 1;
    await page.screenshot({ path: join(SHOTS, `${name}-${lang}-${width}${dark ? "-dark" : ""}.png`), fullPage: true });
    const seen = await page.evaluate(() => ({
      violations: globalThis.__violations,
      canary: globalThis.__canary === true,
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      untold: [...document.querySelectorAll("body *")]
        .filter((element) => element.children.length === 0 && /^(js|nav|field|done|kind|outcome|status|col)-[a-z-]+$/.test(element.textContent.trim()))
        .map((element) => element.textContent.trim()),
    }));
    for (const violation of seen.violations) faults.push(`${where()}: policy: ${violation}`);
    if (seen.canary) faults.push(`${where()}: a canary ran`);
    if (seen.wide > 0) faults.push(`${where()}: ${seen.wide} px wider than the window`);
    if (seen.untold.length) faults.push(`${where()}: ids in place of words: ${seen.untold}`);
    if (!axe || !asks) return;
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    for (const found of violations.filter(({ impact }) => impact === "serious" || impact === "critical")) {
      const nodes = found.nodes.slice(0, 3).map((node) => `${node.target} ${node.any?.[0]?.message ?? ""}`);
      faults.push(`${where()}: axe ${found.impact} ${found.id}: ${nodes.join(" | ")}`);
    }
  };
  return { context, page, look };
};

/** The code of an authenticator for a secret in base32. */
export const totp = (secret, at = Date.now()) => {
  const bits = [...secret.replace(/[^A-Z2-7]/g, "")].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30000)));
  const mac = createHmac("sha1", key).update(counter).digest();
  const offset = mac[19] & 15;
  return String((mac.readUInt32BE(offset) & 0x7fffffff) % 1e6).padStart(6, "0");
};
