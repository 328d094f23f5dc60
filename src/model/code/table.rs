//! The table over all kinds, and the search in it.

use super::start::StartFailure;
use crate::model::close::CloseCause;
use crate::model::refusal::Refusal;

/// What a number stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeKind {
    /// A request, frame or command was refused.
    Refusal,
    /// A connection has ended.
    Close,
    /// The process could not start.
    Start,
}

impl CodeKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [CodeKind; 3] = [CodeKind::Refusal, CodeKind::Close, CodeKind::Start];

    /// The heading over its codes.
    pub const fn title(self) -> &'static str {
        match self {
            CodeKind::Refusal => "Refusals",
            CodeKind::Close => "Closes",
            CodeKind::Start => "Failed starts",
        }
    }
}

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code {
    /// Stable for ever.
    pub number: u16,
    /// Stable for ever; unique within its kind.
    pub name: &'static str,
    /// What it stands for.
    pub kind: CodeKind,
    /// What happened.
    pub sentence: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// Every code, by number.
pub fn all() -> impl Iterator<Item = Code> {
    let refusals = Refusal::ALL.into_iter().map(Code::from);
    let closes = CloseCause::ALL.into_iter().map(Code::from);
    refusals.chain(closes).chain(StartFailure::ALL.into_iter().map(Code::from))
}

/// The codes that `text` means, by number or by name; several where kinds share a name.
pub fn find(text: &str) -> Vec<Code> {
    let text = text.trim();
    let number: Option<u16> = text.parse().ok();
    all()
        .filter(|code| Some(code.number) == number || code.name.eq_ignore_ascii_case(text))
        .collect()
}

impl From<Refusal> for Code {
    fn from(refusal: Refusal) -> Code {
        let entry = refusal.entry();
        Code {
            number: entry.number,
            name: entry.code,
            kind: CodeKind::Refusal,
            sentence: entry.title,
            advice: refusal.advice(),
        }
    }
}

impl From<CloseCause> for Code {
    fn from(cause: CloseCause) -> Code {
        Code {
            number: cause.number(),
            name: cause.label(),
            kind: CodeKind::Close,
            sentence: cause.sentence(),
            advice: cause.advice(),
        }
    }
}

impl From<StartFailure> for Code {
    fn from(failure: StartFailure) -> Code {
        Code {
            number: failure.number(),
            name: failure.name(),
            kind: CodeKind::Start,
            sentence: failure.sentence(),
            advice: failure.advice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_each_row_is_whole() {
        let codes: Vec<Code> = all().collect();
        assert!(codes.windows(2).all(|pair| pair[0].number < pair[1].number));
        let mut names = std::collections::HashSet::new();
        for code in &codes {
            let hundred = CodeKind::ALL.iter().position(|kind| *kind == code.kind);
            assert_eq!(Some(usize::from(code.number / 100)), hundred, "{code:?}");
            assert!(names.insert((code.kind.title(), code.name)), "{} stands twice", code.name);
            assert!(code.sentence.ends_with('.') && code.advice.ends_with('.'), "{code:?}");
            assert!(code.advice.len() > 20 && !code.advice.contains('|'), "{code:?}");
        }
    }

    #[test]
    fn codes_are_found_by_number_and_by_name() {
        let found = |text| find(text).iter().map(|code| code.number).collect::<Vec<_>>();
        assert_eq!(found("19"), [19]);
        assert_eq!(found(" Unauthorized "), [19]);
        assert_eq!(found("timeout"), [24, 108]);
        assert_eq!(found("0"), [0; 0]);
        assert_eq!(found("nothing"), [0; 0]);
    }
}
