// Everything a person does in the dashboard of their own machine, in both languages and at two widths, once with the
// keyboard alone and once in the dark. Run by web_browser.rs, which sets AKM, AKM_CHROMIUM and AKM_SHOTS.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { faults, launch, looked, totp, window } from "./browser.mjs";
import { VALID, fakeProvider } from "./provider.mjs";
import { PASSPHRASE, addKey, control, expects, fill, goto, send, tabbing } from "./steps.mjs";

const CANARY = `"'><img src=x onerror="globalThis.__canary=true"><script>globalThis.__canary=true<\u{2f}script>`;

const homes = [];
/** A home of akm with an agent in it. */
const home = () => {
  const dir = mkdtempSync(join(tmpdir(), "akm-web-"));
  const env = { ...process.env, AKM_HOME: dir, AKM_LANG: "en" };
  const akm = (...args) => execFileSync(process.env.AKM, args, { env, encoding: "utf8", cwd: dir });
  akm("agent", "start");
  homes.push({ dir, akm });
  return { akm, link: () => JSON.parse(akm("ui", "--json")).url };
};

const walk = async (browser, port, { lang, width, withTotp }) => {
  const { link } = home();
  const { context, page, look } = await window(browser, { lang, width });
  const expectText = expects(page, { lang, width });

  // In, through a link that is good once.
  const url = link();
  await page.goto(url);
  await page.waitForURL("**/register");
  await look("register");
  await fill(page, { new_passphrase: "one", again: "two" });
  await page.click("form[action$='/register'] button");
  await page.waitForSelector("[role=alert]");
  await look("register-refused");
  await fill(page, { new_passphrase: PASSPHRASE, again: PASSPHRASE });
  await page.setChecked("[name=with_totp]", withTotp);
  await send(page, "register");
  await expectText("Before you go on", "继续之前");
  assert.equal(await page.locator(".codes li").count(), 8);
  await look("welcome");
  if (withTotp) {
    const secret = (await page.innerText("code.breaks")).trim();
    await fill(page, { code: totp(secret) });
    await send(page, "register/confirm");
    await expectText("The authenticator counts from now on.", "身份验证器现已生效。");
  } else {
    await page.click("a.primary");
  }
  const second = await context.newPage();
  await second.goto(url);
  await second.waitForSelector("[data-when=failed]:not([hidden])");
  await second.close();

  // Nothing there yet.
  await goto(page, "");
  await expectText("No keys yet", "还没有密钥");
  await look("keys-empty");
  await goto(page, "activity");
  await look("activity-empty");

  // Keys: good, refused, busy, and one whose every text is an attack.
  await goto(page, "keys/new");
  await look("key-new");
  await addKey(page, { provider: "openai", label: "work", secret: VALID, model: "gpt-4o", categories: "work, prod", notes: "the team's key\nask Mei", base_url: `http://127.0.0.1:${port}/v1` }, { test: true });
  await expectText("The key is stored.", "密钥已存储。");
  await look("key");
  await addKey(page, { provider: "openai", label: "old", secret: "sk-walk-revoked-0000000000", categories: "home", base_url: `http://127.0.0.1:${port}/v1` });
  await addKey(page, { provider: "openai", label: "busy", secret: "sk-walk-busy-0000000000000", base_url: `http://127.0.0.1:${port}/v1` });
  await addKey(page, { provider: "deepseek", secret: VALID, low_balance: "500 CNY", base_url: `http://127.0.0.1:${port}` });
  await addKey(page, { provider: "openrouter", label: "credits", secret: VALID, base_url: `http://127.0.0.1:${port}/api/v1` });
  const plain = CANARY.replaceAll("/", "|").replaceAll(",", ";");
  await addKey(page, { provider: "my-own", label: plain.slice(0, 90), secret: "sk-<b>walk</b>-0000000000", model: plain, categories: plain.slice(0, 60), notes: CANARY });
  await expectText("The key is stored.", "密钥已存储。");
  await look("key-canary");
  await addKey(page, { provider: CANARY, secret: "x" });
  await page.waitForSelector("[role=alert]");
  await look("key-refused");

  // Tested together, with progress.
  await goto(page, "");
  await look("keys");
  await page.click("[data-test-all]");
  await page.waitForFunction(() => {
    const bar = document.querySelector("#progress progress");
    return bar.value === bar.max && !document.querySelector("[data-test-all]").disabled;
  });
  await expectText(lang === "zh" ? "" : "with a problem", "个有问题");
  const outcome = (name) => page.innerText(`[data-key="${name}"] [data-outcome]`);
  assert.equal(await outcome("openai/work"), lang === "zh" ? "有效" : "valid");
  assert.equal(await outcome("openai/old"), lang === "zh" ? "无效" : "invalid");
  await look("keys-tested");

  // Copied, and shown for a moment.
  await page.click('[data-key="openai/work"] [data-copy]');
  await page.waitForSelector(".toast.tone-good");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), VALID);
  await page.click('[data-key="openai/work"] [data-reveal]');
  await page.waitForSelector(`[data-key="openai/work"] .is-shown`);
  assert.equal(await page.innerText('[data-key="openai/work"] [data-secret]'), VALID);
  await look("keys-revealed", { axe: false });
  await page.click('[data-key="openai/work"] [data-reveal]');
  assert.ok(!(await page.content()).includes(VALID), "a hidden secret is not in the page");

  // Searched.
  await page.fill("[name=q]", "MEI");
  await page.press("[name=q]", "Enter");
  await page.waitForURL("**q=MEI**");
  assert.equal(await page.locator("li.key").count(), 1);
  await goto(page, "?q=nothing-like-it");
  await expectText("No key fits", "没有符合的密钥");
  await look("keys-no-match");

  // Edited, rotated, switched off, removed.
  await goto(page, "keys/show?name=openai/old");
  await page.fill("form[action$='/keys/edit'] [name=model]", "gpt-4.1");
  await send(page, "keys/edit");
  await expectText("The changes are saved.", "修改已保存。");
  await page.fill("#f-rotate", "sk-walk-rotated-000000000");
  await send(page, "keys/rotate");
  await expectText("The new secret is stored", "新密钥已存储");
  await send(page, "keys/status");
  await expectText("The key is switched off.", "密钥已停用。");
  await look("key-disabled");
  await page.click(".danger summary");
  await Promise.all([page.waitForEvent("framenavigated"), page.click("form[action$='/keys/remove'] button")]);
  await page.waitForLoadState("load");
  await expectText("The key is gone.", "密钥已删除。");

  // The other rooms.
  for (const [path, name] of [["providers", "providers"], ["models?provider=openai", "models"], ["providers/new", "provider-new"], ["log", "log"], ["activity", "activity"], ["balance", "balance-empty"], ["account", "account"], [`no/such/${encodeURIComponent("<b>")}`, "not-found"]]) {
    await goto(page, path);
    if (name === "activity") {
      await page.focus("[data-chart]");
      await page.keyboard.press("ArrowLeft");
      assert.ok((await page.innerText("[data-tip-of]")).includes(":"));
    }
    await look(name);
  }
  await goto(page, "balance");
  await send(page, "balance");
  await page.waitForSelector(".gauge");
  await look("balance");
  await goto(page, "log");
  await send(page, "log/verify");
  await expectText("authentic", "均真实");

  // Taken away as a file.
  await goto(page, "account");
  await page.fill("#f-seal", "a passphrase for the file");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("form[action$='/account/export'] button[type=submit]")]);
  assert.equal(download.suggestedFilename(), "akm-keys.json.age");
  assert.ok(readFileSync(await download.path(), "latin1").startsWith("age-encryption.org/v1"));

  // Locked, and unlocked; then out for good.
  await Promise.all([page.waitForURL("**/unlock"), page.click("main form[action$='/lock'] button")]);
  await look("unlock");
  if (!withTotp) {
    await fill(page, { passphrase: "wrong" });
    await page.click("form[action$='/unlock'] button");
    await page.waitForSelector("[role=alert]");
    await look("unlock-refused");
    await fill(page, { passphrase: PASSPHRASE });
    await send(page, "unlock");
    assert.equal(await page.locator("li.key").count(), 5, "one of six was removed");
    await goto(page, "account");
    await send(page, "leave");
    await expectText("This browser has left", "此浏览器已退出");
    await look("left");
    await page.goBack();
    await page.reload();
    await expectText("This browser is not let in", "此浏览器未获准进入");
  }
  await context.close();
};

/** With the keyboard alone: unlocked, a key added, found, shown, and hidden again. */
const keyboard = async (browser) => {
  const { akm, link } = home();
  execFileSync(process.env.AKM, ["init", "--no-totp", "--passphrase-stdin"], { env: { ...process.env, AKM_HOME: homes.at(-1).dir }, input: PASSPHRASE + "\n" });
  akm("lock");
  const { context, page, look } = await window(browser, { lang: "en", width: 1440 });
  await page.goto(link());
  await page.waitForURL("**/unlock");
  await page.keyboard.type(PASSPHRASE);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".empty");
  const tabTo = tabbing(page);
  await tabTo(".skip");
  await page.keyboard.press("Enter");
  await tabTo("a.button.primary");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/keys/new");
  await page.keyboard.type("unheard-of");
  await tabTo("[name=label]");
  await page.keyboard.type("mine");
  await tabTo("[name=secret]");
  await page.keyboard.type("sk-keyboard-0123456789");
  await tabTo("[name=test]");
  await page.keyboard.press("Space");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/keys/show**");
  await goto(page, "");
  await page.keyboard.press("/");
  await page.keyboard.type("mine");
  await page.keyboard.press("Enter");
  await page.waitForURL("**q=mine**");
  await tabTo("[data-reveal]");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".is-shown");
  assert.equal(await page.innerText("[data-secret]"), "sk-keyboard-0123456789");
  await look("keyboard", { axe: false });
  await page.keyboard.press("Enter");
  assert.ok(!(await page.content()).includes("sk-keyboard-0123456789"));
  await context.close();
  return { akm, link };
};

/** The pages that colours matter most on, in the dark. */
const dark = async (browser, { link }) => {
  for (const width of [360, 1440]) {
    const { context, page, look } = await window(browser, { lang: "zh", width, dark: true });
    await page.goto(link());
    await page.waitForSelector("li.key");
    for (const [path, name] of [["", "keys"], ["keys/show?name=unheard-of/mine", "key"], ["activity", "activity"], ["providers", "providers"], ["log", "log"], ["account", "account"]]) {
      await goto(page, path);
      await look(name);
    }
    await context.close();
  }
};

const { server, port } = await fakeProvider();
const browser = await launch();
try {
  await control(await window(browser, { lang: "en", width: 360 }), faults);

  const only = process.env.AKM_WALK;
  for (const each of [
    { lang: "en", width: 1440, withTotp: true },
    { lang: "zh", width: 360, withTotp: false },
    { lang: "zh", width: 1440, withTotp: false },
    { lang: "en", width: 360, withTotp: false },
  ])
    if (!only || only === `${each.lang}${each.width}`) await walk(browser, port, each);
  if (!only || only === "keyboard") await dark(browser, await keyboard(browser));
  assert.deepEqual(faults, [], faults.join("\n"));
  console.log(`${looked} pages looked at`);
} catch (error) {
  console.error(faults.join("\n"));
  throw error;
} finally {
  await browser.close();
  server.close();
  for (const { dir, akm } of homes) {
    try {
      akm("agent", "stop");
    } catch {
      // It is not there any more.
    }
    rmSync(dir, { recursive: true, force: true });
  }
}
