//! The operations that are measured, for both harnesses.
//!
//! A case is made with all its input and runs a few times before it is measured: buffers have
//! grown, streams exist, the allocator has its pages. One call of [`Op`] is one operation.

pub(crate) mod broker;
pub(crate) mod exchange;
pub(crate) mod mesh;
pub(crate) mod parse;
pub(crate) mod token;
pub(crate) mod websocket;
pub(crate) mod write;

/// One operation; returns something of its outcome, so that no compiler leaves it out.
pub(crate) type Op = Box<dyn FnMut() -> usize>;

/// How often a case runs before it is measured.
const WARM_UP_COUNT: usize = 3;

/// The operation that `make` makes, warm.
pub(crate) fn warm(make: fn() -> Op) -> Op {
    let mut op = make();
    for _ in 0..WARM_UP_COUNT {
        op();
    }
    op
}

/// Hands every case to the macro `$then`: its name, and what makes it. A last part of the name that
/// is a bare number says how many deliveries, messages or parcels one operation is.
#[macro_export]
macro_rules! with_cases {
    ($then:ident) => {
        $then! {
            ws_encode_200_b = $crate::cases::websocket::encode::<200>;
            ws_encode_4_kib = $crate::cases::websocket::encode::<4096>;
            ws_encode_64_kib = $crate::cases::websocket::encode::<65_536>;
            ws_read_binary_200_b = $crate::cases::websocket::read::<200>;
            ws_read_binary_4_kib = $crate::cases::websocket::read::<4096>;
            ws_read_binary_64_kib = $crate::cases::websocket::read::<65_536>;
            ws_read_text_200_b = $crate::cases::websocket::read_text::<200>;
            ws_read_text_4_kib = $crate::cases::websocket::read_text::<4096>;
            ws_deflate_200_b = $crate::cases::websocket::deflate::<200>;
            ws_deflate_4_kib = $crate::cases::websocket::deflate::<4096>;
            http_publish_200_b = $crate::cases::exchange::single::<200>;
            http_publish_4_kib = $crate::cases::exchange::single::<4096>;
            http_publish_token_200_b = $crate::cases::exchange::with_token::<200>;
            http_batch_64 = $crate::cases::exchange::batch::<64>;
            realtime_parse_200_b = $crate::cases::parse::realtime::<200>;
            realtime_parse_4_kib = $crate::cases::parse::realtime::<4096>;
            native_batch_64 = $crate::cases::parse::batch::<64>;
            realtime_envelope_200_b = $crate::cases::write::envelope::<200>;
            sse_event_200_b = $crate::cases::write::event::<200>;
            sse_event_4_kib = $crate::cases::write::event::<4096>;
            token_hs256 = $crate::cases::token::hs256;
            token_rs256 = $crate::cases::token::rs256;
            token_ps256 = $crate::cases::token::ps256;
            token_es256 = $crate::cases::token::es256;
            token_es384 = $crate::cases::token::es384;
            token_es512 = $crate::cases::token::es512;
            token_eddsa = $crate::cases::token::eddsa;
            token_known = $crate::cases::token::known;
            token_junk = $crate::cases::token::junk;
            key_set_8 = $crate::cases::token::key_set;
            fan_out_1 = $crate::cases::broker::fan_out::<1>;
            fan_out_1000 = $crate::cases::broker::fan_out::<1000>;
            mesh_batch_1 = $crate::cases::mesh::awake::<1>;
            mesh_batch_64 = $crate::cases::mesh::awake::<64>;
            mesh_wake_1 = $crate::cases::mesh::asleep::<1>;
            mesh_wake_64 = $crate::cases::mesh::asleep::<64>;
        }
    };
}

/// `size` bytes of words, the same every time, that compress about as chat does.
fn text(size: usize) -> String {
    const WORDS: [&str; 16] = [
        "order", "price", "the", "of", "score", "home", "away", "goal", "minute", "user", "joined",
        "room", "is", "typing", "now", "update",
    ];
    let mut state = 1_u32;
    let mut text = String::with_capacity(size + 8);
    while text.len() < size {
        // Knuth's multiplicative step; its upper bits choose.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(WORDS[(state >> 28) as usize]);
        text.push(' ');
    }
    text.truncate(size);
    text
}
