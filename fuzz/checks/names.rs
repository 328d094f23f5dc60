//! What must hold of cursors, connection ids and topic names for any text: each is read as its
//! grammar says, what is read is written back the same, and no id is taken that was not given.

use fanwire::model::id::ConnectionIds;
use fanwire::model::position::{Cursor, Lane};
use fanwire::model::shard::{SHARDS_MAX, ShardIndex};
use fanwire::model::topic::{TOPIC_SIZE_MAX, TopicClass, TopicError, TopicName};
use fanwire::stdx::slab::Key;

/// Panics where a naive reading disagrees.
pub(crate) fn check(data: &[u8]) {
    check_forged_id(data);
    let Ok(text) = str::from_utf8(data) else { return };
    check_cursor(text);
    check_topic(text);
    // Nothing but a key of its own makes an id, and these keys were made just now.
    assert_eq!(ConnectionIds::random().parse(text), None);
}

fn check_cursor(text: &str) {
    let read = Cursor::parse(text);
    let expected = naive_cursor(text);
    assert_eq!(read.is_some(), expected.is_some());
    let (Some(read), Some(expected)) = (read, expected) else { return };
    let entries: Vec<(u64, Option<u64>, u64)> = read
        .positions()
        .map(|position| {
            let home = match position.lane {
                Lane::Home(home) => Some(u64::from(home.0)),
                Lane::Store => None,
            };
            (u64::from(position.epoch.0), home, position.offset)
        })
        .collect();
    assert_eq!(entries, expected);
    assert_eq!(Cursor::parse(&read.to_string()), Some(read));
}

/// Epoch, home (none for the store) and offset of each entry.
type Entries = Vec<(u64, Option<u64>, u64)>;

/// `epoch-home.offset[-home.offset…]` in lower-case hex, homes below 64 and each once; behind it or
/// alone `sepoch.offset`.
fn naive_cursor(text: &str) -> Option<Entries> {
    let is_store = |part: &str| part.starts_with('s');
    let parts: Vec<&str> = text.split('-').collect();
    let (homes, store) = match parts.split_last()? {
        (last, homes) if is_store(last) => (homes, Some(last)),
        _ => (&parts[..], None),
    };
    let mut entries = Entries::new();
    if let [epoch, homes @ ..] = homes {
        let epoch = naive_epoch(epoch)?;
        for entry in homes {
            let dot = entry.find('.')?;
            let (home, offset) = (naive_hex(&entry[..dot])?, naive_hex(&entry[dot + 1..])?);
            let is_known = entries.iter().any(|(_, known, _)| *known == Some(home));
            if home >= u64::from(SHARDS_MAX) || is_known {
                return None;
            }
            entries.push((epoch, Some(home), offset));
        }
        if homes.is_empty() {
            return None;
        }
    }
    if let Some(store) = store {
        let dot = store.find('.')?;
        entries.push((naive_epoch(&store[1..dot])?, None, naive_hex(&store[dot + 1..])?));
    }
    Some(entries)
}

fn naive_epoch(text: &str) -> Option<u64> {
    naive_hex(text).filter(|epoch| u32::try_from(*epoch).is_ok())
}

fn naive_hex(text: &str) -> Option<u64> {
    let digit = |c: char| "0123456789abcdef".find(c).map(|digit| digit as u64);
    let digits: Option<Vec<u64>> = text.chars().map(digit).collect();
    let digits = digits.filter(|digits| !digits.is_empty())?;
    digits.into_iter().try_fold(0_u64, |sum, digit| sum.checked_mul(16)?.checked_add(digit))
}

fn check_topic(text: &str) {
    let is_control = |c: char| matches!(u32::from(c), 0..=0x1f | 0x7f..=0x9f);
    let every_door = if text.is_empty() {
        Err(TopicError::Empty)
    } else if text.len() > TOPIC_SIZE_MAX {
        Err(TopicError::TooLong)
    } else if text.chars().any(is_control) {
        Err(TopicError::Control)
    } else {
        Ok(text.to_owned())
    };
    let is_reserved = text.starts_with('!') || text.chars().any(|c| c == '*' || c == ',');
    let native = match &every_door {
        Ok(_) if is_reserved => Err(TopicError::Reserved),
        other => other.clone(),
    };
    let name = TopicName::new(text);
    if let Ok(name) = &name {
        let class = match text.split_once('/') {
            Some(("priv", _)) => TopicClass::Private,
            Some(("secure", _)) => TopicClass::Secure,
            _ => TopicClass::Public,
        };
        assert_eq!(name.class(), class);
    }
    assert_eq!(name.map(|name| name.as_str().to_owned()), every_door);
    assert_eq!(TopicName::native(text).map(|name| name.as_str().to_owned()), native);
}

/// An id made from the input reads back; with any one character changed it does not.
fn check_forged_id(data: &[u8]) {
    let Some(([shard, index @ ..], rest)) = data.split_first_chunk::<5>() else { return };
    let Some((generation, [place, character, ..])) = rest.split_first_chunk::<4>() else { return };
    let (index, generation) = (u32::from_be_bytes(*index), u32::from_be_bytes(*generation));
    let ids = ConnectionIds::random();
    let shard = ShardIndex(u16::from(*shard) % SHARDS_MAX);
    let id = ids.id(shard, Key { index, generation });
    let text = id.to_string();
    assert!(text.len() == 32 && !text.contains('.'));
    assert_eq!(ids.parse(&text), Some(id));
    let mut forged = text.clone().into_bytes();
    forged[usize::from(*place) % 32] = *character & 0x7f;
    let forged = String::from_utf8(forged).expect("ASCII");
    assert_eq!(ids.parse(&forged).is_some(), forged == text);
}
