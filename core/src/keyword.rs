//! Options whose value is a keyword.

/// A choice that clients name by a keyword, in any case.
pub trait Keyword: Copy + PartialEq + 'static {
    /// The choices and their keywords.
    const ALL: &'static [(Self, &'static str)];
    /// The keywords, as errors list them.
    const CHOICES: &'static str;

    /// The choice that this keyword stands for.
    fn parse(word: &[u8]) -> Option<Self> {
        let is_it = |(_, name): &&(Self, &str)| word.eq_ignore_ascii_case(name.as_bytes());
        Self::ALL.iter().find(is_it).map(|(choice, _)| *choice)
    }

    /// The keyword of this choice.
    fn name(self) -> &'static str {
        let is_it = |(choice, _): &&(Self, &str)| *choice == self;
        Self::ALL.iter().find(is_it).map_or("", |(_, name)| name)
    }
}
