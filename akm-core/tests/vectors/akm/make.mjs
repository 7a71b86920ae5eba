// Computes format_v1.json with Node's crypto, from the formulas alone and without any code of akm:
//   node make.mjs > format_v1.json
// The answers are pinned: a change to them is a change to what rests on people's disks.
import { createCipheriv, createHash, createHmac, hkdfSync } from "node:crypto";

const bytes = (from, length) => Buffer.from(Array.from({ length }, (_, i) => (from + i) & 0xff));
const be = (value, size) => {
  const out = Buffer.alloc(size);
  let rest = BigInt(value);
  for (let i = size - 1; i >= 0; i--, rest >>= 8n) out[i] = Number(rest & 0xffn);
  return out;
};
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const hmac = (key, ...parts) => createHmac("sha256", key).update(Buffer.concat(parts)).digest();
const hkdf = (salt, ikm, info, size) => Buffer.from(hkdfSync("sha256", ikm, salt, info, size));
const prefixed = (parts) => Buffer.concat(parts.flatMap((p) => [be(p.length, 8), p]));
const hex = (buffer) => buffer.toString("hex");

const ids = { vault: 3, account: 4, record: 5, slot: 6, version: 7, destinations: 8, seq: 9 };
function ad(field, parts) {
  const put = (number, value) => Buffer.concat([be(number, 2), be(value.length, 2), value]);
  const out = [put(1, Buffer.from("akm/v1")), put(2, be(field, 2))];
  for (const name of Object.keys(ids)) if (name in parts) out.push(put(ids[name], parts[name]));
  return Buffer.concat(out);
}
function seal(key, salt, encodedAd, plaintext) {
  const info = sha256(encodedAd, Buffer.from([1, 1]));
  const okm = hkdf(salt, key, info, 76);
  const cipher = createCipheriv("aes-256-gcm", okm.subarray(0, 32), okm.subarray(32, 44));
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  return Buffer.concat([Buffer.from([1, 1]), salt, okm.subarray(44), sealed]);
}

const key = bytes(0x00, 32);
const salt = bytes(0x40, 32);
const vault = bytes(0x60, 16), account = bytes(0x70, 16), record = bytes(0x80, 16);
const destinations = bytes(0x90, 32);
const everything = {
  vault, account, record, slot: be(7, 4), version: be(2n ** 40n, 8), destinations, seq: be(9, 8),
};
const secretAd = ad(6, { vault, account, record, version: be(1, 8), destinations });
const plaintext = Buffer.from("sk-0123456789abcdef");
const padded = Buffer.alloc(64);
be(plaintext.length, 4).copy(padded);
plaintext.copy(padded, 4);

const kdf = Buffer.concat([Buffer.from([1]), be(65536, 4), be(3, 4), be(1, 4), bytes(0xa0, 16)]);
const recovery = Buffer.concat([Buffer.from([2]), be(0, 12), bytes(0xa0, 16)]);
const device = bytes(0xc0, 32);
const slot = (salt, factors) => {
  const parts = [Buffer.from("akm/v1/slot"), vault, account, be(3, 4), kdf, be(factors, 4)];
  return hkdf(salt, key, prefixed(parts), 64);
};
const code = bytes(0xd0, 16);

console.log(JSON.stringify({
  source: "computed by make.mjs with Node's crypto", licence: "written for akm",
  ad_everything: hex(ad(6, everything)),
  ad_secret: hex(secretAd),
  blob: hex(seal(key, salt, secretAd, plaintext)),
  blob_padded_64: hex(seal(key, salt, secretAd, padded)),
  blob_wrapped_key: hex(seal(key, salt, ad(1, { vault, account, slot: be(3, 4) }), bytes(0xe0, 32))),
  derive_index: hex(hmac(key, Buffer.from("akm/v1/index"), Buffer.from([1]))),
  tag: hex(hmac(key, prefixed([Buffer.from("openai"), Buffer.alloc(0), Buffer.from("work")]))),
  hash: hex(sha256(prefixed([Buffer.from("openai"), Buffer.alloc(0), Buffer.from("work")]))),
  kdf: hex(kdf),
  kdf_recovery: hex(recovery),
  slot_without_device: hex(slot(Buffer.alloc(32), 0)),
  slot_with_device: hex(slot(device, 1)),
  recovery: hex(hkdf(bytes(0xa0, 16), code, "akm/v1/recovery", 32)),
}, null, 1));
