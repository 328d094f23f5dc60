//! A slow inflater straight from RFC 1951, for tests: it also tells how far back a stream refers,
//! which the zlib in use does not check against a window smaller than the largest.

use std::collections::HashMap;

/// What a stream holds.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Walked {
    pub(super) bytes: Vec<u8>,
    pub(super) distance_max: usize,
}

/// Bits, the lowest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn is_done(&self) -> bool {
        self.at == self.bytes.len() * 8
    }

    fn take(&mut self, count: usize) -> usize {
        (0..count).fold(0, |value, place| {
            let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
            self.at += 1;
            value | usize::from(bit) << place
        })
    }

    fn symbol(&mut self, code: &Code) -> usize {
        let mut bits = 0;
        for size in 1..=15 {
            bits = bits << 1 | self.take(1);
            if let Some(symbol) = code.get(&(size, bits)) {
                return *symbol;
            }
        }
        panic!("no such code")
    }
}

/// From a code's size and bits to its symbol.
type Code = HashMap<(usize, usize), usize>;

/// RFC 1951 §3.2.2: codes in the order of their sizes, then of their symbols.
fn code(sizes: &[usize]) -> Code {
    let mut code = Code::new();
    let mut next = 0;
    for size in 1..=15 {
        next <<= 1;
        for (symbol, _) in sizes.iter().enumerate().filter(|(_, of)| **of == size) {
            code.insert((size, next), symbol);
            next += 1;
        }
    }
    code
}

/// RFC 1951 §3.2.6.
fn fixed() -> (Code, Code) {
    let sizes = [[8; 144].as_slice(), &[9; 112], &[7; 24], &[8; 8]].concat();
    (code(&sizes), code(&[5; 30]))
}

/// RFC 1951 §3.2.7.
fn dynamic(bits: &mut Bits<'_>) -> (Code, Code) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances) = (bits.take(5) + 257, bits.take(5) + 1);
    let mut sizes_of_sizes = [0; 19];
    let count = bits.take(4) + 4;
    for place in &ORDER[..count] {
        sizes_of_sizes[*place] = bits.take(3);
    }
    let size_code = code(&sizes_of_sizes);
    let mut sizes = Vec::new();
    while sizes.len() < literals + distances {
        let (size, times) = match bits.symbol(&size_code) {
            16 => (*sizes.last().unwrap(), bits.take(2) + 3),
            17 => (0, bits.take(3) + 3),
            18 => (0, bits.take(7) + 11),
            size => (size, 1),
        };
        sizes.extend(std::iter::repeat_n(size, times));
    }
    (code(&sizes[..literals]), code(&sizes[literals..]))
}

/// RFC 1951 §3.2.5: the value that a symbol's first step and its extra bits stand for.
fn length(bits: &mut Bits<'_>, symbol: usize) -> usize {
    match symbol - 257 {
        step @ 0..8 => step + 3,
        28 => 258,
        step => {
            let extra = step / 4 - 1;
            ((4 + step % 4) << extra) + 3 + bits.take(extra)
        }
    }
}

fn distance(bits: &mut Bits<'_>, step: usize) -> usize {
    if step < 4 {
        return step + 1;
    }
    let extra = step / 2 - 1;
    ((2 + step % 2) << extra) + 1 + bits.take(extra)
}

fn stored(bits: &mut Bits<'_>, walked: &mut Walked) {
    bits.at = bits.at.next_multiple_of(8);
    let (size, complement) = (bits.take(16), bits.take(16));
    assert_eq!(size ^ complement, 0xffff);
    (0..size).for_each(|_| walked.bytes.push(u8::try_from(bits.take(8)).unwrap()));
}

fn compressed(bits: &mut Bits<'_>, codes: &(Code, Code), walked: &mut Walked) {
    loop {
        match bits.symbol(&codes.0) {
            256 => return,
            symbol @ 257.. => {
                let length = length(bits, symbol);
                let step = bits.symbol(&codes.1);
                let distance = distance(bits, step);
                walked.distance_max = walked.distance_max.max(distance);
                (0..length).for_each(|_| {
                    walked.bytes.push(walked.bytes[walked.bytes.len() - distance]);
                });
            }
            literal => walked.bytes.push(u8::try_from(literal).unwrap()),
        }
    }
}

/// Walks through a stream that ends with a flushed block's boundary.
///
/// # Panics
/// On anything that is not such a stream.
pub(super) fn walk(deflated: &[u8]) -> Walked {
    let mut bits = Bits { bytes: deflated, at: 0 };
    let mut walked = Walked { bytes: Vec::new(), distance_max: 0 };
    while !bits.is_done() {
        assert_eq!(bits.take(1), 0, "no block is marked as the last");
        match bits.take(2) {
            0 => stored(&mut bits, &mut walked),
            1 => compressed(&mut bits, &fixed(), &mut walked),
            2 => {
                let codes = dynamic(&mut bits);
                compressed(&mut bits, &codes, &mut walked);
            }
            _ => panic!("reserved block type"),
        }
    }
    walked
}
