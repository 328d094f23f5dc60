// Writes vectors.json: what npm `matcher` 5.0.0 says of generated lists of patterns and names, for
// tests/matcher.rs. Same seed, same file: `npm install && node generate.mjs > vectors.json`.
//
// `cases` are [patterns, name, 1 or 0]. `equal` and `different` are characters in pairs, each the
// other's upper or lower case in JavaScript, that match and do not match one another as patterns.

import {isMatch} from 'matcher';

const CASE_COUNT = 4000;
const SIZE_MAX = 200 * 1024;

// mulberry32: a small generator with a 32-bit state.
let state = 20_261_121;
const random = () => {
	state = (state + 0x6d_2b_79_f5) | 0;
	let t = Math.imul(state ^ (state >>> 15), 1 | state);
	t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
	return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
};

const below = count => Math.floor(random() * count);
const pick = list => list[below(list.length)];
const times = (count, make) => Array.from({length: count}, make);

// Few letters, so that names match by chance; then what is special to somebody: regular
// expressions, topics, lines, Unicode's folding.
const COMMON = ['a', 'a', 'b', 'A', '/'];
const SPECIAL = [
	'!', '\\', '.', '?', '+', '^', '$', '(', ')', '[', ']', '{', '}', '|', '-', ',', ' ', '\n', '\r',
	'\0', '\u2028', 'é', 'É', 'ß', 'ẞ', 'ı', 'İ', 'i', 'I', 'ſ', 's', 'S', 'K', 'k', 'Å', 'å',
	'σ', 'ς', 'Σ', 'µ', 'μ', 'ǆ', 'ǅ', 'Ǆ', 'ﬀ', 'ŉ', 'ΐ', 'Ω', 'ω', '😀', '𐐀', '𐐨', 'e\u0301',
];
const character = () => (random() < 0.75 ? pick(COMMON) : pick(SPECIAL));
const word = sizeMax => times(below(sizeMax + 1), character).join('');

const pattern = () => {
	const parts = times(1 + below(4), () => word(3));
	const body = parts.join(random() < 0.1 ? '**' : '*');
	return (random() < 0.2 ? '!' : '') + body;
};

// A name that the pattern would match, often spoiled by one character.
const nameFor = text => {
	let name = text.replace(/^!/, '').replaceAll('*', () => (random() < 0.4 ? '' : word(3)));
	if (random() < 0.2) {
		name = random() < 0.5 ? name.toUpperCase() : name.toLowerCase();
	}
	if (random() < 0.45) {
		const characters = [...name];
		characters.splice(below(characters.length + 1), below(2), ...(random() < 0.7 ? [character()] : []));
		name = characters.join('');
	}
	return name;
};

const cases = [];
const seen = new Set();
while (cases.length < CASE_COUNT) {
	const patterns = times(random() < 0.02 ? 0 : 1 + below(random() < 0.6 ? 1 : 4), pattern);
	const name = patterns.length === 0 || random() < 0.1 ? word(6) : nameFor(pick(patterns));
	const key = JSON.stringify([patterns, name]);
	if (!seen.has(key)) {
		seen.add(key);
		cases.push([patterns, name, isMatch(name, patterns) ? 1 : 0]);
	}
}

const equal = [];
const different = [];
for (let unit = 0; unit <= 0xff_ff; unit++) {
	if ((unit >= 0xd8_00 && unit <= 0xdf_ff) || unit === 0x2a) {
		continue;
	}
	const one = String.fromCharCode(unit);
	for (const other of new Set([one.toLowerCase(), one.toUpperCase()])) {
		if (other !== one && [...other].length === 1) {
			(isMatch(one, [other]) ? equal : different).push(one + other);
		}
	}
}

const written = JSON.stringify({cases, equal: equal.join(''), different: different.join('')})
	.replaceAll('[[[', '[\n[[').replaceAll(',[[', ',\n[[');
if (Buffer.byteLength(written) > SIZE_MAX) {
	throw new Error(`the vectors take ${Buffer.byteLength(written)} bytes`);
}
process.stdout.write(written + '\n');
