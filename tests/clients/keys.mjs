// Tokens by jose and jsonwebtoken, signed with the keys that the test has made for the broker.
import { readFileSync } from "node:fs";
import { importPKCS8, SignJWT } from "jose";
import jsonwebtoken from "jsonwebtoken";

export const ALGORITHMS = [
  ...["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA"],
];

export const EVERYTHING = [
  "realtime:subscriber:read:topic:*",
  "realtime:publisher:write:topic:*",
  "realtime:admin:manage:application",
];

export function readKey(algorithm, extension) {
  return readFileSync(`${process.env.FANWIRE_KEYS}/${algorithm}.${extension}`, "utf8");
}

/** A token by jose, for ten minutes unless it says otherwise. */
export async function byJose(algorithm, claims, expires = "10m") {
  const text = readKey(algorithm, "key");
  const secret = algorithm.startsWith("HS");
  const key = secret ? new TextEncoder().encode(text) : await importPKCS8(text, algorithm);
  const token = new SignJWT(claims).setProtectedHeader({ alg: algorithm, typ: "JWT", kid: algorithm });
  return token.setIssuedAt().setExpirationTime(expires).sign(key);
}

/** A token by jsonwebtoken, the platform's own library; it has no EdDSA. */
export function byJsonwebtoken(algorithm, claims) {
  const options = { algorithm, keyid: algorithm, expiresIn: "10m" };
  return jsonwebtoken.sign(claims, readKey(algorithm, "key"), options);
}
