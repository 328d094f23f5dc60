// Makes vectors.json: signed tokens with Node's own cryptography (OpenSSL), valid ones and every way
// of being wrong that we know of. Run `node tests/tokens/generate.mjs`; each run makes new keys, so
// the bytes differ, the cases do not. What is checked with them stands in tests/tokens.rs.
//
// A case: group, name, key (what the application is configured with), token, valid.

import crypto from "node:crypto";
import fs from "node:fs";

const NOW = 1_700_000_000;
const CLAIMS = JSON.stringify({ sub: "alice", exp: NOW + 3600, permissions: ["realtime:publisher:write:topic:chat"] });
const b64 = (bytes) => Buffer.from(bytes).toString("base64url");
const keys = {};
const cases = [];
let group = "";
const add = (name, key, token, valid) => cases.push({ group, name, key, token, valid });
const good = (name, key, token) => add(name, key, token, true);
const bad = (name, key, token) => add(name, key, token, false);

// --- signing -------------------------------------------------------------------------------------
const HASH = { 256: "sha256", 384: "sha384", 512: "sha512" };
const CURVE = { ES256: "P-256", ES384: "P-384", ES512: "P-521" };
const hashOf = (alg) => HASH[alg.slice(2)];

function signatureOf(alg, key, input) {
  const bytes = Buffer.from(input);
  switch (alg.slice(0, 2)) {
    case "HS": return crypto.createHmac(hashOf(alg), key).update(bytes).digest();
    case "RS": return crypto.sign(hashOf(alg), bytes, key);
    case "PS": return crypto.sign(hashOf(alg), bytes, {
      key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST });
    case "ES": return crypto.sign(hashOf(alg), bytes, { key, dsaEncoding: "ieee-p1363" });
    case "Ed": return crypto.sign(null, bytes, key);
  }
}
const input = (header, payload = CLAIMS) =>
  `${b64(typeof header === "string" ? header : JSON.stringify(header))}.${b64(payload)}`;
const token = (alg, key, { header = { alg, typ: "JWT" }, payload = CLAIMS } = {}) => {
  const signed = input(header, payload);
  return `${signed}.${b64(signatureOf(alg, key, signed))}`;
};
const flip = (bytes, at, bit = 1) => {
  const copy = Buffer.from(bytes);
  copy[(at + copy.length) % copy.length] ^= bit;
  return copy;
};

// --- keys ----------------------------------------------------------------------------------------
const rsa = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
const otherRsa = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = Object.fromEntries(Object.entries(CURVE).map(([alg, namedCurve]) =>
  [alg, crypto.generateKeyPairSync("ec", { namedCurve })]));
const k256 = crypto.generateKeyPairSync("ec", { namedCurve: "secp256k1" });
const ed = crypto.generateKeyPairSync("ed25519");
const secret = crypto.randomBytes(48).toString("base64url");
const pem = (pair) => pair.publicKey.export({ type: "spki", format: "pem" });
const jwk = (pair) => pair.publicKey.export({ format: "jwk" });
const FAMILY = (alg) => alg.startsWith("HS") ? secret : alg === "EdDSA" ? ed.privateKey
  : alg.startsWith("ES") ? ec[alg].privateKey : rsa.privateKey;
const PUBLIC = (alg) => alg === "EdDSA" ? ed : alg.startsWith("ES") ? ec[alg] : rsa;
const ALL = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
  "ES256", "ES384", "ES512", "EdDSA"];
for (const alg of ALL) {
  keys[alg] = { algorithms: [alg], raw: alg.startsWith("HS") ? secret : pem(PUBLIC(alg)) };
  if (!alg.startsWith("HS")) {
    keys[`${alg} jwks`] = { algorithms: [alg], jwks: { keys: [{ ...jwk(PUBLIC(alg)), kid: "k1" }] } };
  }
}
keys["RS256 PKCS#1"] = { algorithms: ["RS256"], raw: rsa.publicKey.export({ type: "pkcs1", format: "pem" }) };
keys["all RSA"] = { algorithms: ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], raw: pem(rsa) };
keys["all public jwks"] = { algorithms: ALL.slice(3), jwks: { keys: [rsa, ...Object.values(ec), ed].map(jwk) } };

// --- every algorithm: whole and damaged ----------------------------------------------------------
for (const alg of ALL) {
  group = `damage ${alg}`;
  const whole = token(alg, FAMILY(alg));
  const [header, payload, signature] = whole.split(".");
  const bytes = Buffer.from(signature, "base64url");
  const resigned = (signature) => `${header}.${payload}.${b64(signature)}`;
  good("whole", alg, whole);
  if (!alg.startsWith("HS")) {
    good("by key set, named", `${alg} jwks`, token(alg, FAMILY(alg), { header: { alg, kid: "k1" } }));
    good("by key set, unnamed", `${alg} jwks`, whole);
    good("among many keys", "all public jwks", whole);
    bad("by key set, misnamed", `${alg} jwks`, token(alg, FAMILY(alg), { header: { alg, kid: "k2" } }));
  }
  for (const at of [0, Math.floor(bytes.length / 2), -1]) bad(`signature's byte ${at} changed`, alg, resigned(flip(bytes, at)));
  bad("signature cut by 1", alg, resigned(bytes.subarray(0, -1)));
  bad("signature cut by half", alg, resigned(bytes.subarray(0, bytes.length / 2)));
  bad("signature's first byte dropped", alg, resigned(bytes.subarray(1)));
  bad("zero behind the signature", alg, resigned([...bytes, 0]));
  bad("zero before the signature", alg, resigned([0, ...bytes]));
  bad("signature twice", alg, resigned([...bytes, ...bytes]));
  bad("signature of zeros", alg, resigned(Buffer.alloc(bytes.length)));
  bad("signature of ones", alg, resigned(Buffer.alloc(bytes.length, 0xff)));
  bad("signature of one byte", alg, resigned([0]));
  bad("signature absent", alg, `${header}.${payload}.`);
  bad("signature and dot absent", alg, `${header}.${payload}`);
  bad("payload absent", alg, `${header}..${signature}`);
  bad("payload and dot absent", alg, `${header}.${signature}`);
  bad("payload changed", alg, `${header}.${b64(CLAIMS.replace("alice", "admin"))}.${signature}`);
  bad("header absent", alg, `.${payload}.${signature}`);
  bad("header and dot absent", alg, `${payload}.${signature}`);
  bad("header changed", alg, `${b64(JSON.stringify({ typ: "JWT", alg }))}.${payload}.${signature}`);
  bad("payload alone", alg, `.${payload}.`);
  bad("payload without dots", alg, payload);
  bad("fourth part", alg, `${whole}.${signature}`);
  bad("empty fourth part", alg, `${whole}.`);
  bad("dot before", alg, `.${whole}`);
  bad("JSON serialization, flattened", alg, JSON.stringify({ protected: header, payload, signature }));
  bad("JSON serialization, general", alg, JSON.stringify({ payload, signatures: [{ protected: header, signature }] }));
  bad("signed by another key", alg, token(alg, alg.startsWith("HS") ? `${secret}x` : alg === "EdDSA"
    ? crypto.generateKeyPairSync("ed25519").privateKey : alg.startsWith("ES")
      ? crypto.generateKeyPairSync("ec", { namedCurve: CURVE[alg] }).privateKey : otherRsa.privateKey));
}
group = "form";
for (let count = 0; count <= 6; count += 1) bad(`${count} dots alone`, "HS256", ".".repeat(count));
bad("empty", "HS256", "");
bad("NUL", "HS256", "\0");
good("RSA key in PKCS#1 form", "RS256 PKCS#1", token("RS256", rsa.privateKey));

// --- the algorithm's name ------------------------------------------------------------------------
group = "alg";
for (const name of ["none", "None", "NONE", "nOnE", "none ", " none", "", "nonE\0", "null", "0"]) {
  for (const [what, signature] of [["no signature", ""], ["a signature", b64("signature")],
    ["the right signature", null]]) {
    const signed = input({ alg: name });
    const made = signature ?? b64(signatureOf("HS256", secret, signed));
    bad(`${JSON.stringify(name)} with ${what}`, "HS256", `${signed}.${made}`);
  }
}
for (const alg of [undefined, null, 0, true, [], ["HS256"], {}, "hs256", "Hs256", "HS256 ", " HS256", "HS256\0",
  "HS2560", "HS1", "HS224", "SHA256", "HMAC", "A256GCM", "dir", "RSA1_5", "ES256K", "ESP256"]) {
  bad(`alg ${JSON.stringify(alg)}`, "HS256", token("HS256", secret, { header: { alg } }));
}
for (const signer of ALL) {
  for (const alg of ALL.filter((alg) => alg !== signer)) {
    bad(`${alg} in the header, signed with ${signer}`, alg, token(signer, FAMILY(signer), { header: { alg } }));
    bad(`${signer} at a key for ${alg}`, alg, token(signer, FAMILY(signer)));
  }
}
for (const alg of keys["all RSA"].algorithms) {
  good(`${alg} at a key for all of RSA`, "all RSA", token(alg, rsa.privateKey));
  for (const header of keys["all RSA"].algorithms.filter((each) => each !== alg)) {
    bad(`${alg} said to be ${header}`, "all RSA", token(alg, rsa.privateKey, { header: { alg: header } }));
  }
}
bad("secp256k1 said to be ES256", "ES256", (() => {
  const signed = input({ alg: "ES256" });
  return `${signed}.${b64(crypto.sign("sha256", Buffer.from(signed), { key: k256.privateKey, dsaEncoding: "ieee-p1363" }))}`;
})());

// --- the public key as a secret ------------------------------------------------------------------
group = "key confusion";
for (const alg of ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"]) {
  const pair = PUBLIC(alg);
  const text = pem(pair);
  const forms = {
    PEM: text, "PEM without line feed": text.trimEnd(), "PEM body": text.split("\n").slice(1, -2).join(""),
    "PEM with CRLF": text.replaceAll("\n", "\r\n"),
    DER: pair.publicKey.export({ type: "spki", format: "der" }), JWK: JSON.stringify(jwk(pair)),
    "x or n": Buffer.from(jwk(pair).x ?? jwk(pair).n, "base64url"), empty: "", zeros: Buffer.alloc(32),
  };
  for (const [form, bytes] of Object.entries(forms)) {
    for (const hmac of ["HS256", "HS384", "HS512"]) {
      bad(`${hmac} with the ${form} of ${alg}`, alg, token(hmac, bytes));
      bad(`${hmac} with the ${form} of ${alg}, by key set`, `${alg} jwks`, token(hmac, bytes, { header: { alg: hmac, kid: "k1" } }));
    }
  }
}

// --- RSA paddings --------------------------------------------------------------------------------
const raw = (block) => crypto.privateEncrypt({ key: rsa.privateKey, padding: crypto.constants.RSA_NO_PADDING }, block);
const K = 256;
const RS_INPUT = input({ alg: "RS256" });
const PS_INPUT = input({ alg: "PS256" });
const sha = (name, bytes) => crypto.createHash(name).update(bytes).digest();
const OID = { sha256: "608648016503040201", sha384: "608648016503040202", sha1: "2b0e03021a", sha512: "608648016503040203" };
const tlv = (tag, ...parts) => { const body = Buffer.concat(parts); return Buffer.concat([Buffer.from([tag, body.length]), body]); };
const info = ({ hash = "sha256", parameters = Buffer.from([5, 0]), digest = sha(hash, RS_INPUT) } = {}) =>
  tlv(0x30, tlv(0x30, tlv(6, Buffer.from(OID[hash], "hex")), parameters), tlv(4, digest));
const padded = (t, { head = [0, 1], fill = 0xff, separator = [0], size = K } = {}) => Buffer.concat([
  Buffer.from(head), Buffer.alloc(size - head.length - separator.length - t.length, fill), Buffer.from(separator), t]);
group = "RSA PKCS#1 padding";
const pkcs1 = (name, block) => bad(name, "RS256", `${RS_INPUT}.${b64(raw(block))}`);
good("made by hand", "RS256", `${RS_INPUT}.${b64(raw(padded(info())))}`);
pkcs1("no parameters", padded(info({ parameters: Buffer.alloc(0) })));
pkcs1("other parameters", padded(info({ parameters: Buffer.from([4, 0]) })));
pkcs1("long parameters", padded(info({ parameters: Buffer.from([5, 1, 0]) })));
pkcs1("SHA-1", padded(info({ hash: "sha1" })));
pkcs1("SHA-384", padded(info({ hash: "sha384" })));
pkcs1("SHA-512's name over SHA-256", padded(info({ hash: "sha512", digest: sha("sha256", RS_INPUT) })));
pkcs1("digest cut", padded(info({ digest: sha("sha256", RS_INPUT).subarray(0, 31) })));
pkcs1("digest longer", padded(info({ digest: Buffer.concat([sha("sha256", RS_INPUT), Buffer.from([0])]) })));
pkcs1("digest empty", padded(info({ digest: Buffer.alloc(0) })));
pkcs1("digest alone", padded(sha("sha256", RS_INPUT)));
pkcs1("block type 0", padded(info(), { head: [0, 0], fill: 0 }));
pkcs1("block type 2", padded(info(), { head: [0, 2] }));
pkcs1("first byte 1", padded(info(), { head: [1, 1] }));
pkcs1("fill of zeros", padded(info(), { fill: 0 }));
pkcs1("fill of ee", padded(info(), { fill: 0xee }));
pkcs1("separator 1", padded(info(), { separator: [1] }));
pkcs1("no separator", padded(info(), { separator: [] }));
for (const count of [1, 8, 100, 190]) {
  const block = padded(info(), { size: K - count });
  pkcs1(`${count} zeros behind`, Buffer.concat([block, Buffer.alloc(count)]));
  pkcs1(`${count} bytes behind`, Buffer.concat([block, Buffer.alloc(count, 0xa5)]));
}
pkcs1("8 bytes of fill", Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(8, 0xff), Buffer.from([0]), info(), Buffer.alloc(K - 11 - info().length, 7)]));
const longForm = (() => { const der = info(); return Buffer.concat([Buffer.from([0x30, 0x81, der[1]]), der.subarray(2)]); })();
pkcs1("length in long form", padded(longForm));
pkcs1("length with a leading zero", padded(Buffer.concat([Buffer.from([0x30, 0x82, 0, info()[1]]), info().subarray(2)])));
pkcs1("indefinite length", padded(Buffer.concat([Buffer.from([0x30, 0x80]), info().subarray(2), Buffer.from([0, 0])])));
pkcs1("length off by one", padded(Buffer.concat([Buffer.from([0x30, info()[1] + 1]), info().subarray(2)])));
pkcs1("NULL behind the digest", padded(tlv(0x30, info().subarray(2), Buffer.from([5, 0]))));
for (let at = 0; at < info().length; at += 1) pkcs1(`bit of byte ${at} of DigestInfo changed`, padded(flip(info(), at, 2)));
const n = BigInt(`0x${Buffer.from(jwk(rsa).n, "base64url").toString("hex")}`);
const fixed = (number, size) => Buffer.from(number.toString(16).padStart(size * 2, "0"), "hex");
const toBig = (bytes) => BigInt(`0x${bytes.toString("hex")}`);
for (const [alg, signed] of [["RS256", RS_INPUT], ["PS256", PS_INPUT]]) {
  for (const [name, number] of [["0", 0n], ["1", 1n], ["n - 1", n - 1n], ["n", n], ["n + 1", n + 1n]]) {
    bad(`${alg}: the signature is ${name}`, alg, `${signed}.${b64(fixed(number, K))}`);
  }
  const right = toBig(signatureOf(alg, rsa.privateKey, signed));
  bad(`${alg}: the signature plus n`, alg, `${signed}.${b64(fixed(right + n, K + 1))}`);
  bad(`${alg}: n minus the signature`, alg, `${signed}.${b64(fixed(n - right, K))}`);
}
group = "RSA PSS padding";
function mgf(seed, size, hash) {
  const parts = [];
  for (let counter = 0; parts.length * 20 < size + 64; counter += 1) parts.push(sha(hash, Buffer.concat([seed, fixed(BigInt(counter), 4)])));
  return Buffer.concat(parts).subarray(0, size);
}
function pss({ salt = crypto.randomBytes(32), hash = "sha256", mask = "sha256", trailer = 0xbc, fill = 0, separator = 1,
  digest = sha(hash, PS_INPUT), zeros = 8, top = true, change = (block) => block } = {}) {
  const h = sha(hash, Buffer.concat([Buffer.alloc(zeros), digest, salt]));
  const db = Buffer.concat([Buffer.alloc(K - h.length - salt.length - 2, fill), Buffer.from([separator]), salt]);
  const masked = Buffer.from(mgf(h, db.length, mask).map((byte, at) => byte ^ db[at]));
  if (top) masked[0] &= 0x7f;
  return change(Buffer.concat([masked, h, Buffer.from([trailer])]));
}
const psToken = (block) => `${PS_INPUT}.${b64(raw(block))}`;
good("made by hand", "PS256", psToken(pss()));
good("salt of zeros", "PS256", psToken(pss({ salt: Buffer.alloc(32) })));
good("salt of ones", "PS256", psToken(pss({ salt: Buffer.alloc(32, 0xff) })));
for (const size of [0, 1, 16, 20, 31, 33, 48, 64, K - 34]) bad(`salt of ${size} bytes`, "PS256", psToken(pss({ salt: crypto.randomBytes(size) })));
bad("mask by SHA-1", "PS256", psToken(pss({ mask: "sha1" })));
bad("mask by SHA-512", "PS256", psToken(pss({ mask: "sha512" })));
bad("hash SHA-1", "PS256", psToken(pss({ hash: "sha1" })));
bad("hash SHA-512", "PS256", psToken(pss({ hash: "sha512" })));
for (const trailer of [0, 0xbb, 0xbd, 0xcc, 0xff]) bad(`trailer ${trailer}`, "PS256", psToken(pss({ trailer })));
bad("separator 0", "PS256", psToken(pss({ separator: 0 })));
bad("separator 2", "PS256", psToken(pss({ separator: 2 })));
bad("zeros before the digest 7", "PS256", psToken(pss({ zeros: 7 })));
bad("digest of something else", "PS256", psToken(pss({ digest: sha("sha256", "else") })));
bad("digest of zeros", "PS256", psToken(pss({ digest: Buffer.alloc(32) })));
for (const at of [0, 1, 100, 221, 222, 223, 240, 253, 254, 255]) {
  bad(`bit of byte ${at} changed`, "PS256", psToken(pss({ change: (block) => flip(block, at, at === 0 ? 0x40 : 1) })));
}
bad("fill of ones", "PS256", psToken(pss({ fill: 1 })));

// --- ECDSA numbers -------------------------------------------------------------------------------
const ORDER = {
  ES256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  ES384: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  ES512: 0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
};
const SIZE = { ES256: 32, ES384: 48, ES512: 66 };
for (const alg of Object.keys(CURVE)) {
  group = `ECDSA ${alg}`;
  const [size, order, signed] = [SIZE[alg], ORDER[alg], input({ alg })];
  const key = ec[alg].privateKey;
  const of = (r, s, width = size) => `${signed}.${b64(Buffer.concat([fixed(r, width), fixed(s, width)]))}`;
  const bytes = signatureOf(alg, key, signed);
  const [r, s] = [toBig(bytes.subarray(0, size)), toBig(bytes.subarray(size))];
  good("taken apart and put together", alg, of(r, s));
  good("the other s of the same r", alg, of(r, order - s));
  const edges = { 0: 0n, 1: 1n, "n - 1": order - 1n, n: order, "n + 1": order + 1n, max: (1n << BigInt(size * 8)) - 1n };
  for (const [a, first] of Object.entries(edges)) {
    for (const [b, second] of Object.entries(edges)) bad(`r ${a}, s ${b}`, alg, of(first, second));
    bad(`r ${a}`, alg, of(first, s));
    bad(`s ${a}`, alg, of(r, first));
  }
  bad("r and s exchanged", alg, of(s, r));
  bad("n - r", alg, of(order - r, s));
  bad("r + n", alg, of(r + order, s, size + 1));
  bad("s + n", alg, of(r, s + order, size + 1));
  bad("a byte wider", alg, of(r, s, size + 1));
  if (size !== 32) bad("as wide as P-256", alg, `${signed}.${b64(bytes.subarray(0, 64))}`);
  bad("DER", alg, `${signed}.${b64(crypto.sign(hashOf(alg), Buffer.from(signed), key))}`);
  bad("DER filled to the width", alg, `${signed}.${b64(Buffer.concat([crypto.sign(hashOf(alg), Buffer.from(signed), key), Buffer.alloc(200)]).subarray(0, size * 2))}`);
  bad("r alone", alg, `${signed}.${b64(fixed(r, size))}`);
  for (const hash of Object.values(HASH).filter((hash) => hash !== hashOf(alg))) {
    bad(`hash ${hash}`, alg, `${signed}.${b64(crypto.sign(hash, Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" }))}`);
  }
  for (let tries = 0, found = 0; tries < 20_000 && found < 2; tries += 1) {
    const header = { alg, try: tries };
    const made = signatureOf(alg, key, input(header));
    const lead = alg === "ES512" ? 1 : 0;
    if (made[lead] === 0 || made[size + lead] === 0) {
      good(`a number begins with zero, try ${found}`, alg, `${input(header)}.${b64(made)}`);
      found += 1;
    }
  }
}

// --- Ed25519 -------------------------------------------------------------------------------------
group = "EdDSA";
const L = (1n << 252n) + 27742317777372353535851937790883648493n;
const little = (number) => fixed(number, 32).reverse();
const ED_INPUT = input({ alg: "EdDSA" });
const edBytes = crypto.sign(null, Buffer.from(ED_INPUT), ed.privateKey);
const [R, S] = [edBytes.subarray(0, 32), toBig(Buffer.from(edBytes.subarray(32)).reverse())];
const edToken = (first, number) => `${ED_INPUT}.${b64(Buffer.concat([first, little(number)]))}`;
good("taken apart and put together", "EdDSA", edToken(R, S));
for (const [name, number] of [["S + L", S + L], ["S + 2 L", S + 2n * L], ["S + 8 L", (S + 8n * L) % (1n << 256n)], ["L", L], ["0", 0n], ["L - S", L - S], ["2^255", 1n << 255n]]) {
  bad(name, "EdDSA", edToken(R, number));
}
for (const [name, point] of [["the identity", little(1n)], ["zero", Buffer.alloc(32)], ["ones", Buffer.alloc(32, 0xff)],
  ["of order 8", Buffer.from("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "hex")]]) {
  bad(`R is ${name}`, "EdDSA", edToken(point, S));
  bad(`R is ${name}, S is 0`, "EdDSA", edToken(point, 0n));
}
bad("sign of R changed", "EdDSA", edToken(flip(R, 31, 0x80), S));
bad("signed as Ed448", "EdDSA", (() => {
  const key = crypto.generateKeyPairSync("ed448").privateKey;
  return `${ED_INPUT}.${b64(crypto.sign(null, Buffer.from(ED_INPUT), key))}`;
})());

// --- encodings -----------------------------------------------------------------------------------
// Signed over what stands there, so that the encoding is the only thing that is wrong.
group = "base64url";
const HEADER = b64(JSON.stringify({ alg: "HS256" }));
const PAYLOAD = b64(`${CLAIMS} `); // of a length with trailing bits
const mac = (signed) => b64(signatureOf("HS256", secret, signed));
const over = (header, payload) => `${header}.${payload}.${mac(`${header}.${payload}`)}`;
good("strict", "HS256", over(HEADER, PAYLOAD));
const damages = {
  "padding": (text) => text.padEnd(Math.ceil((text.length + 1) / 4) * 4, "="), "one =": (text) => `${text}=`,
  "space before": (text) => ` ${text}`, "space behind": (text) => `${text} `, "space inside": (text) => `${text.slice(0, 4)} ${text.slice(4)}`,
  "line feed inside": (text) => `${text.slice(0, 4)}\n${text.slice(4)}`, "CRLF behind": (text) => `${text}\r\n`,
  "NUL inside": (text) => `${text.slice(0, 4)}\0${text.slice(4)}`, "+": (text) => `+${text.slice(1)}`, "/": (text) => `/${text.slice(1)}`,
  "%": (text) => `${text}%3D`, "letter beyond ASCII": (text) => `é${text.slice(1)}`, "question mark": (text) => `${text.slice(0, 5)}?${text.slice(6)}`,
  "comma": (text) => `${text.slice(0, 5)},${text.slice(5)}`, "length of 1 mod 4": (text) => text.padEnd(Math.floor(text.length / 4) * 4 + 5, "A"),
};
for (const [name, damage] of Object.entries(damages)) {
  bad(`${name}: header`, "HS256", over(damage(HEADER), PAYLOAD));
  bad(`${name}: payload`, "HS256", over(HEADER, damage(PAYLOAD)));
  bad(`${name}: signature`, "HS256", `${HEADER}.${PAYLOAD}.${damage(mac(`${HEADER}.${PAYLOAD}`))}`);
}
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const lastBit = (text) => text.slice(0, -1) + ALPHABET[ALPHABET.indexOf(text.at(-1)) ^ 1];
bad("unused bit set: signature", "HS256", `${HEADER}.${PAYLOAD}.${lastBit(mac(`${HEADER}.${PAYLOAD}`))}`);
const ODD_HEADER = b64('{"alg":"HS256"} ');
const ODD_PAYLOAD = PAYLOAD.length % 4 ? PAYLOAD : b64(`${CLAIMS}  `);
good("odd lengths", "HS256", over(ODD_HEADER, ODD_PAYLOAD));
bad("unused bit set: header", "HS256", over(lastBit(ODD_HEADER), ODD_PAYLOAD));
bad("unused bit set: payload", "HS256", over(ODD_HEADER, lastBit(ODD_PAYLOAD)));
const standard = Buffer.from(`{"sub":"???>>>","exp":${NOW + 60}}`).toString("base64").replaceAll("=", "");
bad("the standard alphabet", "HS256", over(HEADER, standard));
good("the same in the URL alphabet", "HS256", over(HEADER, standard.replaceAll("+", "-").replaceAll("/", "_")));

// --- headers -------------------------------------------------------------------------------------
group = "header";
const headed = (header) => token("HS256", secret, { header });
for (const [name, header] of Object.entries({
  "white space": '\t{ "alg" :\r\n"HS256" }', "unknown members": { alg: "HS256", foo: [1, { bar: null }], cty: "json" }, "kid that a raw key lacks": { alg: "HS256", kid: "x" },
  "escaped name": '{"\\u0061lg":"\\u0048S256"}', "typ JWT": { alg: "HS256", typ: "JWT" }, "typ jwt": { alg: "HS256", typ: "jwt" },
  "typ at+jwt": { alg: "HS256", typ: "at+jwt" }, "typ AT+JWT": { alg: "HS256", typ: "AT+JWT" },
  "typ application/jwt": { alg: "HS256", typ: "application/jwt" }, "typ application/at+jwt": { alg: "HS256", typ: "Application/AT+JWT" },
})) good(name, "HS256", headed(header));
for (const [name, header] of Object.entries({
  "alg twice": '{"alg":"HS256","alg":"HS256"}', "alg twice, escaped": '{"alg":"HS256","\\u0061lg":"none"}', "a member twice": '{"alg":"HS256","x":1,"x":1}',
  "a deep member twice": '{"alg":"HS256","x":{"y":1,"y":2}}',
  "crit empty": { alg: "HS256", crit: [] }, "crit exp": { alg: "HS256", crit: ["exp"], exp: 1 }, "crit b64": { alg: "HS256", crit: ["b64"], b64: true },
  "crit unencoded": { alg: "HS256", crit: ["b64"], b64: false }, "crit null": { alg: "HS256", crit: null }, "crit unknown": { alg: "HS256", crit: ["x"], x: 1 },
  "typ JOSE+JSON": { alg: "HS256", typ: "JOSE+JSON" }, "typ logout": { alg: "HS256", typ: "logout+jwt" }, "typ dpop": { alg: "HS256", typ: "dpop+jwt" }, "typ JWE": { alg: "HS256", typ: "JWE" },
  "typ number": { alg: "HS256", typ: 1 }, "typ null": { alg: "HS256", typ: null }, "typ empty": { alg: "HS256", typ: "" }, "typ application": { alg: "HS256", typ: "application/" },
  "typ with NUL": { alg: "HS256", typ: "JWT\0" },
  "kid number": { alg: "HS256", kid: 1 }, "kid null": { alg: "HS256", kid: null }, "kid array": { alg: "HS256", kid: ["x"] },
  "array": '["HS256"]', "string": '"HS256"', "number": "1", "null": "null", "empty object": "{}", "two objects": '{"alg":"HS256"}{}', "trailing comma": '{"alg":"HS256",}',
  "byte order mark": '\ufeff{"alg":"HS256"}', "NUL behind": '{"alg":"HS256"}\0', "NUL in alg": '{"alg":"HS\x00256"}', "single quotes": "{'alg':'HS256'}", "comment": '{"alg":"HS256"/**/}',
  "deep": `{"alg":"HS256","x":${"[".repeat(40)}${"]".repeat(40)}}`, "very deep": `{"alg":"HS256","x":${"[".repeat(2500)}${"]".repeat(2500)}}`,
  "kid of 10 KB": { alg: "HS256", kid: "k".repeat(10_240) }, "unfinished": '{"alg":"HS256"',
})) bad(name, "HS256", headed(header));
bad("not UTF-8", "HS256", (() => { const header = b64(Buffer.concat([Buffer.from('{"alg":"HS256","x":"'), Buffer.from([0xff]), Buffer.from('"}')])); return over(header, PAYLOAD); })());
bad("UTF-16", "HS256", over(b64(Buffer.from('{"alg":"HS256"}', "utf16le")), PAYLOAD));

// --- payloads: rightly signed, and no claims ---------------------------------------------------------
group = "payload";
const bare = (payload) => token("HS256", secret, { payload });
good("no claims", "HS256", bare("{}"));
good("white space", "HS256", bare("\r\n{ }\t"));
for (const [name, payload] of Object.entries({
  "array": "[]", "array of claims": `[${CLAIMS}]`, "string": '"claims"', "number": "1", "null": "null", "text": "foo", "two objects": "{}{}",
  "a claim twice": '{"sub":"a","sub":"a"}', "a claim twice, escaped": '{"sub":"a","\\u0073ub":"b"}', "a deep claim twice": '{"x":{"y":1,"y":1}}',
  "deep": `{"x":${"[".repeat(40)}${"]".repeat(40)}}`, "very deep": `{"x":${"[".repeat(3000)}${"]".repeat(3000)}}`,
  "unfinished": '{"sub":"alice"', "NUL behind": "{}\0", "byte order mark": "\ufeff{}", "NaN": '{"exp":NaN}', "Infinity": '{"exp":Infinity}',
  "too large a number": '{"exp":1e999}', "number with a leading zero": '{"exp":01800000000}', "lone surrogate": '{"sub":"\\ud800"}', "raw control character": '{"sub":"a\nb"}',
  "trailing comma": '{"sub":"a",}', "single quotes": "{'sub':'a'}", "not UTF-8": Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
  "a token": token("HS256", secret), "larger than is taken": JSON.stringify({ x: "x".repeat(6600) }),
})) bad(name, "HS256", bare(payload));
good("as large as is taken", "HS256", bare(JSON.stringify({ x: "x".repeat(6300) })));

// --- keys that the token brings along ------------------------------------------------------------
group = "embedded key";
const attacker = { RS256: otherRsa, ES256: crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }), EdDSA: crypto.generateKeyPairSync("ed25519") };
for (const [alg, pair] of Object.entries(attacker)) {
  const der = pair.publicKey.export({ type: "spki", format: "der" }).toString("base64");
  for (const [name, members] of Object.entries({
    jwk: { jwk: jwk(pair) }, "jwk and kid": { jwk: { ...jwk(pair), kid: "k1" }, kid: "k1" }, jku: { jku: "https://attacker.example/jwks.json" },
    x5u: { x5u: "https://attacker.example/cert.pem" }, x5c: { x5c: [der] }, x5t: { x5t: b64(sha("sha1", der)) },
    "kid with a path": { kid: "../../../../dev/null" }, "kid with SQL": { kid: "k1' UNION SELECT 'key" }, "kid with a URL": { kid: "https://attacker.example/key" },
    "kid with a command": { kid: "k1|whoami" }, "kid empty": { kid: "" }, "kid with NUL": { kid: "k1\0" }, "kid in upper case": { kid: "K1" },
  })) {
    const made = token(alg, pair.privateKey, { header: { alg, ...members } });
    bad(`${alg}: ${name}`, alg, made);
    bad(`${alg}: ${name}, by key set`, `${alg} jwks`, made);
  }
  good(`${alg}: rightly signed, jwk not looked at`, alg, token(alg, FAMILY(alg), { header: { alg, jwk: jwk(pair), jku: "https://x", x5c: ["!"] } }));
}

// --- key sets ------------------------------------------------------------------------------------
group = "key set";
const set = (name, alg, list, valid, key = FAMILY(alg), header = { alg }) => {
  keys[`set: ${name}`] = { algorithms: [alg], jwks: { keys: list } };
  add(name, `set: ${name}`, token(alg, key, { header }), valid);
};
const R1 = jwk(rsa);
const E1 = jwk(ec.ES256);
const small = crypto.generateKeyPairSync("rsa", { modulusLength: 1024 });
const even = (text) => b64(flip(Buffer.from(text, "base64url"), -1));
set("use sig", "RS256", [{ ...R1, use: "sig" }], true);
set("use enc", "RS256", [{ ...R1, use: "enc" }], false);
set("use unknown", "RS256", [{ ...R1, use: "SIG" }], false);
set("use null", "RS256", [{ ...R1, use: null }], false);
set("key_ops verify", "RS256", [{ ...R1, key_ops: ["verify"] }], true);
set("key_ops verify among others", "RS256", [{ ...R1, key_ops: ["sign", "verify"] }], true);
set("key_ops sign", "RS256", [{ ...R1, key_ops: ["sign"] }], false);
set("key_ops encrypt", "RS256", [{ ...R1, key_ops: ["encrypt"] }], false);
set("key_ops not an array", "RS256", [{ ...R1, key_ops: "verify" }], false);
set("alg equal", "RS256", [{ ...R1, alg: "RS256" }], true);
set("alg of another padding", "RS256", [{ ...R1, alg: "PS256" }], false);
set("alg of another kind", "RS256", [{ ...R1, alg: "ES256" }], false);
set("alg of encryption", "RS256", [{ ...R1, alg: "RSA-OAEP" }], false);
set("alg HS256 on an RSA key", "RS256", [{ ...R1, alg: "HS256" }], false);
set("alg unknown curve", "ES256", [{ ...E1, alg: "ES521" }], false);
set("alg number", "RS256", [{ ...R1, alg: 1 }], false);
set("private members", "RS256", [rsa.privateKey.export({ format: "jwk" })], true);
set("modulus with a leading zero", "RS256", [{ ...R1, n: b64(Buffer.concat([Buffer.alloc(1), Buffer.from(R1.n, "base64url")])) }], true);
set("modulus of 1024 bits", "RS256", [jwk(small)], false, small.privateKey);
set("modulus empty", "RS256", [{ ...R1, n: "" }], false);
set("modulus padded", "RS256", [{ ...R1, n: `${R1.n}==` }], false);
set("exponent 1", "RS256", [{ ...R1, e: "AQ" }], false);
set("exponent even", "RS256", [{ ...R1, e: even(R1.e) }], false);
set("exponent absent", "RS256", [{ ...R1, e: undefined }], false);
set("exponent huge", "RS256", [{ ...R1, e: R1.n }], false);
keys["set: exponent 1, any signature"] = { algorithms: ["RS256"], jwks: { keys: [{ ...R1, e: "AQ" }] } };
bad("exponent 1, any signature", "set: exponent 1, any signature", `${RS_INPUT}.${b64(padded(info()))}`);
set("kty wrong", "RS256", [{ ...R1, kty: "EC" }], false);
set("kty absent", "RS256", [{ ...R1, kty: undefined }], false);
set("kty in lower case", "RS256", [{ ...R1, kty: "rsa" }], false);
set("point off the curve", "ES256", [{ ...E1, y: even(E1.y) }], false);
set("point of zeros", "ES256", [{ ...E1, x: b64(Buffer.alloc(32)), y: b64(Buffer.alloc(32)) }], false);
set("coordinate cut", "ES256", [{ ...E1, x: b64(Buffer.from(E1.x, "base64url").subarray(1)) }], false);
set("coordinate longer", "ES256", [{ ...E1, x: b64(Buffer.concat([Buffer.alloc(1), Buffer.from(E1.x, "base64url")])) }], false);
set("curve misnamed", "ES256", [{ ...E1, crv: "P-384" }], false);
set("curve secp256k1", "ES256", [jwk(k256)], false, k256.privateKey);
set("curve absent", "ES256", [{ ...E1, crv: undefined }], false);
set("Ed25519 cut", "EdDSA", [{ ...jwk(ed), x: b64(Buffer.from(jwk(ed).x, "base64url").subarray(1)) }], false);
set("X25519", "EdDSA", [jwk(crypto.generateKeyPairSync("x25519"))], false);
set("Ed448", "EdDSA", [jwk(crypto.generateKeyPairSync("ed448"))], false);
set("symmetric", "HS256", [{ kty: "oct", k: b64(secret), alg: "HS256" }], false);
set("symmetric beside public", "HS256", [R1, { kty: "oct", k: b64(secret), alg: "HS256" }], false);
set("empty", "RS256", [], false);
set("bad ones before a good one", "RS256", [1, null, {}, [], { kty: "oct", k: "AAAA" }, { kty: "RSA" }, jwk(small), E1, R1], true);
set("same kid twice", "RS256", [{ ...jwk(otherRsa), kid: "same" }, { ...R1, kid: "same" }], true, rsa.privateKey, { alg: "RS256", kid: "same" });
set("kid of another key", "RS256", [{ ...jwk(otherRsa), kid: "a" }, { ...R1, kid: "b" }], false, rsa.privateKey, { alg: "RS256", kid: "a" });
set("kid where the set has none", "RS256", [R1], false, rsa.privateKey, { alg: "RS256", kid: "a" });
set("kid not a string", "RS256", [{ ...R1, kid: 1 }], false);
set("kid in another normal form", "RS256", [{ ...R1, kid: "\u00e9" }], false, rsa.privateKey, { alg: "RS256", kid: "e\u0301" });

fs.writeFileSync(new URL("vectors.json", import.meta.url),
  `{"now":${NOW},\n"keys":${JSON.stringify(keys)},\n"cases":[\n${cases.map((each) => JSON.stringify(each)).join(",\n")}\n]}\n`);
console.log(`${cases.length} cases, ${cases.filter((each) => each.valid).length} of them valid`);
