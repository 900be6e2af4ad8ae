//! The syntax of a command, as COMMAND DOCS has it and as people write it.

use redis::Value;
use std::collections::{BTreeMap, BTreeSet};

/// An argument as COMMAND DOCS gives it.
#[derive(Debug)]
pub struct Arg {
    pub name: String,
    pub kind: String,
    pub token: Option<String>,
    pub optional: bool,
    pub multiple: bool,
    pub multiple_token: bool,
    pub parts: Vec<Arg>,
}

impl Arg {
    pub fn all(value: Option<&Value>) -> Vec<Arg> {
        items(value).iter().map(Arg::of).collect()
    }

    pub fn of(value: &Value) -> Arg {
        let flags: Vec<String> = items(field(value, "flags")).iter().map(word).collect();
        let has = |flag: &str| flags.iter().any(|other| other == flag);
        let text = |name| field(value, name).map(word);
        Arg {
            name: text("name").expect("a name"),
            kind: text("type").expect("a type"),
            token: text("token"),
            optional: has("optional"),
            multiple: has("multiple"),
            multiple_token: has("multiple_token"),
            parts: Arg::all(field(value, "arguments")),
        }
    }

    pub fn is_words(&self) -> bool {
        self.kind == "oneof" && self.parts.iter().all(|part| part.kind == "pure-token")
    }

    /// As a syntax line has it, with the names of what is explained elsewhere.
    pub fn render(&self, named: &BTreeSet<String>) -> String {
        let value = match self.kind.as_str() {
            "pure-token" => String::new(),
            _ if named.contains(&self.name) => self.name.clone(),
            "oneof" => self.choices(named).join("|"),
            "block" => render(&self.parts, named),
            _ => self.name.clone(),
        };
        let token = self.token.clone().unwrap_or_default();
        let mut text = format!("{token} {value}").trim().to_string();
        if self.multiple && !self.multiple_token {
            text = format!("{text} [{value} …]");
        }
        if self.optional {
            text = format!("[{text}]");
        }
        if self.multiple_token {
            text = format!("{text} …");
        }
        text
    }

    pub fn choices(&self, named: &BTreeSet<String>) -> Vec<String> {
        self.parts.iter().map(|part| part.render(named)).collect()
    }

    /// A line for each choice, and for each word that a choice may begin with.
    pub fn lines(&self, named: &BTreeSet<String>) -> Vec<String> {
        let lines = self
            .parts
            .iter()
            .flat_map(|choice| match &choice.parts[..] {
                [words, rest @ ..] if words.is_words() && choice.kind == "block" => words
                    .choices(named)
                    .into_iter()
                    .map(|word| format!("{word} {}", render(rest, named)))
                    .collect(),
                _ => vec![choice.render(named)],
            });
        lines.collect()
    }

    pub fn find<'a>(&'a self, name: &str) -> Option<&'a Arg> {
        match self.name == name && self.kind == "oneof" {
            true => Some(self),
            false => self.parts.iter().find_map(|part| part.find(name)),
        }
    }
}

pub fn word(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).expect("UTF-8"),
        Value::SimpleString(text) => text.clone(),
        other => panic!("no word: {other:?}"),
    }
}

pub fn field<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    let Value::Map(pairs) = map else {
        panic!("no map: {map:?}")
    };
    let mut values = pairs.iter().filter(|(key, _)| word(key) == name);
    values.next().map(|(_, value)| value)
}

pub fn items(value: Option<&Value>) -> &[Value] {
    match value {
        None => &[],
        Some(Value::Array(items) | Value::Set(items)) => items,
        Some(other) => panic!("no items: {other:?}"),
    }
}

pub fn render(args: &[Arg], named: &BTreeSet<String>) -> String {
    let args: Vec<String> = args.iter().map(|arg| arg.render(named)).collect();
    args.join(" ")
}

/// What is written for people: the lines of a command, and what the names in them stand for.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Syntax {
    pub lines: BTreeSet<String>,
    pub names: BTreeMap<String, BTreeSet<String>>,
}

impl Syntax {
    /// Of a block of text: lines that begin with the command, indented ones that go on, and lines `name:`,
    /// with a choice on each line or between bars. `None` if it is another sort of text.
    pub fn of(block: &str) -> Option<(String, Syntax)> {
        let first: Vec<&str> = block.split_whitespace().take(2).collect();
        let ["key" | "stream"] = first.get(1..)? else {
            return None;
        };
        let command = first.first().filter(|word| word.starts_with("DIRTY."))?;
        let mut lines: Vec<String> = Vec::new();
        let mut names: Vec<(String, Vec<String>)> = Vec::new();
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            let defines = line
                .split_once(": ")
                .filter(|(name, _)| !name.contains(' '));
            let text = defines.map_or(line, |(_, text)| text).trim();
            let text = text.split(EXPLANATION).next().unwrap_or_default();
            let words = || text.split_whitespace().collect::<Vec<_>>().join(" ");
            if let Some((name, _)) = defines {
                names.push((name.into(), Vec::new()));
            }
            if let Some((_, choices)) = names.last_mut() {
                choices.extend(words().split(" | ").map(String::from));
            } else if let Some(line) = words().strip_prefix(&format!("{command} ")) {
                lines.push(line.into());
            } else {
                let before = lines.last_mut().expect("the command's line");
                *before = format!("{before} {}", words());
            }
        }
        let names = names
            .into_iter()
            .map(|(name, choices)| (name, choices.into_iter().collect()));
        let syntax = Syntax {
            lines: lines.into_iter().collect(),
            names: names.collect(),
        };
        Some((command.to_string(), syntax))
    }

    /// What COMMAND DOCS says, with the same names.
    pub fn told(&self, args: &[Arg]) -> Syntax {
        let find = |name: &String| args.iter().find_map(|arg| arg.find(name));
        let named: BTreeSet<String> = self
            .names
            .keys()
            .filter(|name| find(name).is_some())
            .cloned()
            .collect();
        let whole: Vec<&Arg> = args.iter().collect();
        let lines = match whole[..] {
            // Another way to call it is another line.
            [key, ways] if ways.kind == "oneof" => {
                let ways = ways.lines(&named).into_iter();
                ways.map(|way| format!("{} {way}", key.render(&named)))
                    .collect()
            }
            _ => [render(args, &named)].into(),
        };
        let names = self.names.iter().map(|(name, text)| {
            let choices = match find(name) {
                Some(arg) => arg.lines(&named).into_iter().collect(),
                None => text.clone(), // an explanation
            };
            (name.clone(), choices)
        });
        Syntax {
            lines,
            names: names.collect(),
        }
    }
}

/// Behind so many spaces a line explains itself.
const EXPLANATION: &str = "     ";

/// The blocks of a Markdown file: indented, or between fences.
pub fn markdown_blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut fenced = false;
    for line in text.lines() {
        let last = blocks.last_mut().expect("a block");
        if line.starts_with("```") {
            fenced = !fenced;
            blocks.push(String::new());
        } else if fenced {
            last.push_str(&format!("{line}\n"));
        } else if let Some(line) = line.strip_prefix("    ") {
            last.push_str(&format!("{line}\n"));
        } else if !line.is_empty() {
            blocks.push(String::new());
        }
    }
    blocks
}

/// What is between the fences of a file's comments.
pub fn comment_blocks(text: &str) -> Vec<String> {
    let comments = text
        .lines()
        .map(|line| match line.trim().strip_prefix("///") {
            Some(comment) => comment.strip_prefix(' ').unwrap_or(comment),
            None => "",
        });
    markdown_blocks(&comments.collect::<Vec<_>>().join("\n"))
}

pub fn arguments(docs: &Value) -> Vec<Arg> {
    Arg::all(field(docs, "arguments"))
}
