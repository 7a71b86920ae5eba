// What somebody with an account on a server does in its dashboard: from registering to signing out, in both languages and
// at two widths, once with the keyboard alone and once in the dark. Run by web_hosted.rs, which sets AKM_URL, AKM_CODES,
// AKM_CHROMIUM and AKM_SHOTS.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { faults, launch, looked, totp, window } from "./browser.mjs";
import { PASSPHRASE, addKey, control, expects, fill, goto, send, tabbing } from "./steps.mjs";

const URL_ = process.env.AKM_URL;
const CODES = JSON.parse(process.env.AKM_CODES);
const VALID = "sk-walk-valid-0123456789abcdef-wxyz";
const NEXT = "another correct horse battery";

/** Codes of an authenticator, each good once: the step before this one (while that is good for long enough), this one, the next.
 * Past that it waits. */
const authenticator = (secret) => {
  let last = 0;
  return async () => {
    const step = () => Math.floor(Date.now() / 30000);
    last = Math.max(last + 1, step() - (Date.now() % 30000 < 15000 ? 1 : 0));
    while (last > step() + 1) await new Promise((wait) => setTimeout(wait, 250));
    return totp(secret, last * 30000);
  };
};

const signIn = async (page, account, passphrase, code) => {
  await page.goto(URL_ + "/unlock");
  await fill(page, { account, passphrase, totp: code });
  await page.click("form[action$='/unlock'] button");
};

const register = async ({ page, look, expectText }, account) => {
  await page.goto(URL_);
  await page.waitForURL("**/unlock");
  await expectText("Sign in", "登录");
  await look("hosted-sign-in");
  await page.click("a[href$='/register']");
  await fill(page, { account, new_passphrase: "one long passphrase", again: "another" });
  await look("hosted-register");
  await page.click("form[action$='/register'] button");
  await page.waitForSelector("[role=alert]");
  await look("hosted-register-refused");
  await fill(page, { account, new_passphrase: PASSPHRASE, again: PASSPHRASE });
  await send(page, "register");
  await expectText("Before you go on", "继续之前");
  assert.ok((await page.locator(".codes li").count()) >= 8, "recovery codes");
  assert.equal(await page.locator("svg.qr").count(), 1, "a QR code");
  await look("hosted-welcome");
  const next = authenticator((await page.innerText("code.breaks")).trim());
  // A server that asks for TOTP opens nothing before it is set up.
  const early = await page.context().newPage();
  await early.goto(URL_ + "/keys/new");
  assert.equal(new URL(early.url()).pathname, "/setup");
  await early.close();
  await fill(page, { code: "000000" });
  await send(page, "register/confirm");
  await page.waitForSelector("[role=alert]");
  await look("hosted-code-refused");
  await fill(page, { code: await next() });
  await send(page, "register/confirm");
  await expectText("The authenticator counts from now on.", "身份验证器现已生效。");
  return next;
};

const walk = async (browser, { lang, width, code }) => {
  // Each language and each width is looked at with axe once: the two others have the same pages.
  const { context, page, look } = await window(browser, { lang, width, asks: (lang === "en") === (width === 1440) });
  const expectText = expects(page, { lang, width });
  const account = `mei-${lang}-${width}`;
  const next = await register({ page, look, expectText }, account);

  // Out, and in again; not with a code that was used.
  const used = await next();
  await Promise.all([page.waitForURL("**/unlock"), page.click(".side-tools form[action$='/lock'] button")]);
  await signIn(page, account, "wrong", used);
  await page.waitForSelector("[role=alert]");
  await look("hosted-sign-in-refused");
  await signIn(page, account, PASSPHRASE, used);
  await page.waitForSelector(".empty");
  await expectText("No keys yet", "还没有密钥");
  await look("hosted-keys-empty");

  // Membership: where it stands, an order, a code that is none, and one that is.
  await goto(page, "membership");
  await expectText("Where you stand", "当前状态");
  await look("hosted-membership");
  await page.fill("form[action$='/membership/order'] [name=months] >> nth=0", "3");
  await page.click("form[action$='/membership/order'] button >> nth=0");
  await page.waitForSelector("a[target=_blank]");
  assert.match(await page.getAttribute("a[target=_blank]", "href"), /^https:\/\/pay\.example\.com\/\?n=3&for=\w+/);
  await expectText("15.00 CNY", "15.00 CNY");
  await look("hosted-order");
  await goto(page, "membership");
  await fill(page, { code: "AAAAA-BBBBB-CCCCC" });
  await page.click("form[action$='/membership/redeem'] button");
  await page.waitForSelector("[role=alert]");
  await look("hosted-redeem-refused");
  await fill(page, { code });
  await send(page, "membership/redeem");
  await expectText("The code is redeemed.", "兑换成功。");
  await expectText("History", "变更记录");
  // Where one is reminded: kept, but not the address of a hook elsewhere.
  await page.fill("[name=email]", `${account}@example.com`);
  await page.selectOption("select[name=hook]", "slack");
  await page.fill("[name=hook_url]", "http://169.254.169.254/");
  await send(page, "membership/contact");
  await page.waitForSelector("[role=alert]");
  await page.fill("[name=email]", `${account}@example.com`);
  await page.selectOption("select[name=hook]", "slack");
  await page.fill("[name=hook_url]", "https://hooks.slack.com/services/T000/B000/XXXX");
  await page.selectOption("select[name=locale]", lang);
  await send(page, "membership/contact");
  await expectText("It is saved where you are reminded.", "提醒方式已保存。");
  assert.equal(await page.inputValue("[name=email]"), `${account}@example.com`);
  assert.ok(!(await page.content()).includes("T000/B000"), "the address of a hook is not shown again");
  await look("hosted-redeemed");

  // Keys, tested where they belong: at the provider, over TLS.
  await goto(page, "keys/new");
  await look("hosted-key-new");
  await addKey(page, { provider: "openai", label: "work", secret: VALID, model: "gpt-4o", categories: "work, prod", notes: "the team's key" }, { test: true });
  await expectText("The key is stored.", "密钥已存储。");
  assert.equal((await page.innerText("[data-outcome] >> nth=0")).trim(), lang === "zh" ? "有效" : "valid");
  await look("hosted-key");
  await addKey(page, { provider: "openai", label: "old", secret: "sk-walk-revoked-0000000000", categories: "home" });
  await addKey(page, { provider: "deepseek", secret: VALID, categories: "work" });
  // A tenant's key is never sent to the server's own network.
  await addKey(page, { provider: "openai", label: "inside", secret: VALID, base_url: "http://127.0.0.1:9/v1" }, { test: true });
  assert.notEqual((await page.innerText("[data-outcome] >> nth=0")).trim(), lang === "zh" ? "有效" : "valid");

  await goto(page, "");
  await page.click("[data-test-all]");
  await page.waitForFunction(() => {
    const bar = document.querySelector("#progress progress");
    return bar.value === bar.max && !document.querySelector("[data-test-all]").disabled;
  });
  const outcome = (name) => page.innerText(`[data-key="${name}"] [data-outcome]`);
  assert.equal(await outcome("openai/work"), lang === "zh" ? "有效" : "valid");
  assert.equal(await outcome("deepseek/default"), lang === "zh" ? "有效" : "valid");
  assert.equal(await outcome("openai/old"), lang === "zh" ? "无效" : "invalid");
  await look("hosted-keys-tested");

  // Copied with one click, and shown for a moment.
  await page.click('[data-key="openai/work"] [data-copy]');
  await page.waitForSelector(".toast.tone-good");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), VALID);
  await page.click('[data-key="openai/work"] [data-reveal]');
  await page.waitForSelector('[data-key="openai/work"] .is-shown');
  assert.equal(await page.innerText('[data-key="openai/work"] [data-secret]'), VALID);
  await look("hosted-keys-revealed", { axe: false });
  await page.click('[data-key="openai/work"] [data-reveal]');
  assert.ok(!(await page.content()).includes(VALID), "a hidden secret is not in the page");

  // Found: by each filter, and by a text.
  const rows = () => page.locator("li.key").count();
  const narrowed = async (field, value, count) => {
    await goto(page, "");
    await Promise.all([page.waitForURL(`**${field}=${value}**`), page.selectOption(`select[name=${field}]`, value)]);
    assert.equal(await rows(), count, `${field}=${value}`);
  };
  await narrowed("provider", "deepseek", 1);
  await narrowed("category", "work", 2);
  await narrowed("status", "active", 4);
  await page.fill("[name=q]", "TEAM");
  await page.press("[name=q]", "Enter");
  await page.waitForURL("**q=TEAM**");
  assert.equal(await rows(), 1);
  await look("hosted-keys-found");

  // What happened, all of it and narrowed.
  await goto(page, "log");
  await look("hosted-log");
  await Promise.all([page.waitForURL("**action=key.get**"), page.selectOption("select[name=action]", "key.get")]);
  const actions = await page.locator("table.log tbody td:nth-child(2) code").allInnerTexts();
  assert.ok(actions.length >= 2 && actions.every((action) => action === "key.get"), `${actions}`);
  await goto(page, "log");
  await send(page, "log/verify");
  await expectText("authentic", "均真实");
  for (const [path, name] of [["activity", "activity"], ["providers", "providers"], ["balance", "balance"], ["no/such", "not-found"], ["admin", "denied"]]) {
    await goto(page, path);
    await look(`hosted-${name}`);
  }

  // Signed in elsewhere too; ended from here.
  const other = await browser.newContext({ ignoreHTTPSErrors: true });
  const second = await other.newPage();
  await signIn(second, account, PASSPHRASE, await next());
  await second.waitForSelector("li.key");
  await goto(page, "account");
  assert.equal(await page.locator("button.link").count(), 1, "one session beside this one");
  await look("hosted-account");
  await Promise.all([page.waitForEvent("framenavigated"), page.click("button.link")]);
  await page.waitForLoadState("load");
  await expectText("The session has ended.", "会话已结束。");
  await second.goto(URL_);
  assert.equal(new URL(second.url()).pathname, "/unlock", "it is signed out");
  await other.close();

  // Another passphrase: not with a wrong one.
  const change = async (passphrase) => {
    await page.fill("form[action$='/account/passphrase'] [name=passphrase]", passphrase);
    await fill(page, { new_passphrase: NEXT, again: NEXT });
    await send(page, "account/passphrase");
  };
  await change("wrong");
  await page.waitForSelector("[role=alert]");
  await look("hosted-passphrase-refused");
  await change(PASSPHRASE);
  await expectText("The passphrase is changed.", "口令已更改。");

  // Taken away as a file: sealed, and in clear with the new passphrase.
  const save = async () => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("form[action$='/account/export'] button[type=submit]")]);
    return [download.suggestedFilename(), readFileSync(await download.path(), "latin1")];
  };
  await page.fill("#f-seal", "a passphrase for the file");
  const [sealedName, sealed] = await save();
  assert.equal(sealedName, "akm-keys.json.age");
  assert.ok(sealed.startsWith("age-encryption.org/v1") && !sealed.includes(VALID));
  await goto(page, "account");
  await page.click("form[action$='/account/export'] summary");
  await page.setChecked("[name=plaintext]", true);
  await page.fill("#export-passphrase", NEXT);
  await look("hosted-export", { axe: false });
  const [plainName, plain] = await save();
  assert.equal(plainName, "akm-keys.json");
  assert.deepEqual(JSON.parse(plain).keys.map((key) => key.name).sort(), ["deepseek/default", "openai/inside", "openai/old", "openai/work"]);
  assert.equal(JSON.parse(plain).keys.find((key) => key.name === "openai/work").secret, VALID);

  // And brought in again: looked at first, from a file that was chosen; what is no text goes as it is.
  await goto(page, "move");
  await look("hosted-move");
  const dry = async (name, content, seal) => {
    await goto(page, "move");
    await page.setInputFiles("#import-file", { name, mimeType: "application/octet-stream", buffer: Buffer.from(content, "latin1") });
    await page.waitForFunction(() => document.querySelector("#import-content").value || document.querySelector("[name=sealed]").value);
    if (seal) await fill(page, { seal });
    await Promise.all([page.waitForEvent("framenavigated"), page.click("button[name=dry]")]);
    await page.waitForLoadState("load");
  };
  await dry("akm-keys.json.age", sealed, "a passphrase for the file");
  await expectText("here already", "已存在");
  await look("hosted-imported");
  await dry("keys.env", "OPENAI_API_KEY=sk-another-0123456789\nnot a line\n");
  await page.waitForSelector("[role=alert]");
  await look("hosted-import-refused");
  // Handed over to a session of its own: a code, a file, and the file again, in pieces.
  await goto(page, "move");
  await send(page, "move/offer");
  const handover = (await page.innerText("[data-handover-code]")).trim();
  await look("hosted-handover-code");
  await fill(page, { code: handover });
  await page.fill("#send-passphrase", NEXT);
  const [handed] = await Promise.all([page.waitForEvent("download"), page.click("form[action$='/move/send'] button[type=submit]")]);
  assert.match(handed.suggestedFilename(), /^akm-4-keys-[0-9a-z]{16}\.handover$/);
  await page.setInputFiles("#receive-file", await handed.path());
  await Promise.all([page.waitForURL("**/move/receive"), page.click("form[action$='/move/receive'] button[type=submit]")]);
  await expectText("4 were here already", "4 个已存在");
  await look("hosted-received");

  // Made an administrator on the host: the pages of administration.
  execFileSync(process.env.AKM_BINARY, ["admin", "grant", account], { stdio: "ignore" });
  for (const path of ["", "/tiers", "/orders", "/codes", "/providers", "/limits", "/monitoring"]) {
    await goto(page, "admin" + path);
    await look(`hosted-admin${path.replace("/", "-")}`);
  }
  await page.locator("[data-chart] .day").last().hover();
  await page.waitForSelector("[data-tip-of]:not([hidden])");
  const here = await page.evaluate(() => {
    const [room, bar] = [document.querySelector(".side nav [aria-current]"), document.querySelector(".side nav")].map((e) => e.getBoundingClientRect());
    return room.right <= bar.right + 1 && room.left >= bar.left - 1;
  });
  assert.ok(here, "the room one is in is seen");

  // Out: neither the way back nor the old passphrase leads in.
  await goto(page, "account");
  await Promise.all([page.waitForURL("**/unlock"), page.click("main form[action$='/lock'] button")]);
  await page.goBack();
  await page.reload();
  assert.equal(new URL(page.url()).pathname, "/unlock");
  assert.deepEqual((await context.cookies()).filter(({ name }) => name === "__Host-akm"), [], "the cookie is forgotten");
  await context.close();
};

/** With the keyboard alone: registered, a key added, found, shown, and out. Then the pages of this account in the dark. */
const keyboard = async (browser) => {
  const { context, page, look } = await window(browser, { lang: "en", width: 1440 });
  const tabTo = tabbing(page);
  await page.goto(URL_ + "/register");
  await tabTo("[name=account]");
  await page.keyboard.type("keyboard");
  await tabTo("[name=new_passphrase]");
  await page.keyboard.type(PASSPHRASE);
  await tabTo("[name=again]");
  await page.keyboard.type(PASSPHRASE);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".codes");
  const next = authenticator((await page.innerText("code.breaks")).trim());
  await tabTo("[name=code]");
  await page.keyboard.type(await next());
  await page.keyboard.press("Enter");
  await page.waitForURL("**/account**");
  await tabTo(".skip");
  await tabTo("nav a[href='/']");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".empty");
  await tabTo(".skip");
  await page.keyboard.press("Enter");
  await tabTo("a.button.primary");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/keys/new");
  await page.keyboard.type("unheard-of");
  await tabTo("[name=secret]");
  await page.keyboard.type("sk-keyboard-0123456789");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/keys/show**");
  await tabTo(".skip");
  await tabTo("nav a[href='/']");
  await page.keyboard.press("Enter");
  await page.waitForSelector("li.key");
  await page.keyboard.press("/");
  await page.keyboard.type("unheard");
  await page.keyboard.press("Enter");
  await page.waitForURL("**q=unheard**");
  await tabTo("[data-reveal]");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".is-shown");
  assert.equal(await page.innerText("[data-secret]"), "sk-keyboard-0123456789");
  await page.keyboard.press("Enter");
  const cookies = await context.cookies();
  for (const width of [360, 1440]) {
    const night = await window(browser, { lang: "zh", width, dark: true });
    await night.context.addCookies(cookies);
    for (const [path, name] of [["", "keys"], ["membership", "membership"], ["account", "account"], ["log", "log"]]) {
      await night.page.goto(`${URL_}/${path}`);
      await night.look(`hosted-${name}`);
    }
    await night.context.close();
  }
  await page.reload();
  await tabTo(".side-tools form[action$='/lock'] button");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/unlock");
  await look("hosted-signed-out");
  await context.close();
};

const browser = await launch();
try {
  await control(await window(browser, { lang: "en", width: 360 }), faults);
  const only = process.env.AKM_WALK;
  const walks = [["en", 1440], ["zh", 360], ["zh", 1440], ["en", 360]];
  for (const [index, [lang, width]] of walks.entries())
    if (!only || only === `${lang}${width}`) await walk(browser, { lang, width, code: CODES[index] });
  if (!only || only === "keyboard") await keyboard(browser);
  assert.deepEqual(faults, [], faults.join("\n"));
  console.log(`${looked} pages looked at`);
} catch (error) {
  console.error(faults.join("\n"));
  throw error;
} finally {
  await browser.close();
}
