//! Masking (RFC 6455 §5.3): XOR with a repeating 4-byte key, in place.

/// Masks or unmasks `bytes`, the first of which stands at `offset` in the frame's payload.
///
/// Works on 8 bytes at a time, which the compiler widens to vector registers.
pub(super) fn apply(key: [u8; 4], offset: usize, bytes: &mut [u8]) {
    let at = |index: usize| key[(offset + index) % 4];
    let key = [at(0), at(1), at(2), at(3)];
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_and_length_equals_the_definition() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for offset in 0..9 {
            for len in 0..70_u8 {
                let plain: Vec<u8> = (0..len).collect();
                let expected: Vec<u8> =
                    plain.iter().enumerate().map(|(i, b)| b ^ key[(offset + i) % 4]).collect();
                let mut masked = plain.clone();
                apply(key, offset, &mut masked);
                assert_eq!(masked, expected, "offset {offset}, {len} bytes");
            }
        }
    }
}
