//! What one source file says of others: its modules, its imports and the paths in its code.
//!
//! Code for tests (`#[cfg(test)]`) is left out. The arguments of macros are read like the rest.

use crate::lexer::{Token, tokens};

/// A file, or a module written out inside of one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// `mod x;`
    pub files: Vec<String>,
    /// `mod x;` for tests only.
    pub test_files: Vec<String>,
    /// `mod x { … }`
    pub inline: Vec<(String, Source)>,
    /// `use …;`, one for each name.
    pub imports: Vec<Import>,
    /// Paths in the code, such as `crate::disk::open`, with their lines.
    pub mentions: Vec<(Vec<String>, usize)>,
    pub marks: Marks,
}

/// The lines with something that the rules name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// `unsafe`
    pub unsafe_code: Vec<usize>,
    /// `#[path = …]`
    pub paths: Vec<usize>,
    /// `cfg(feature = …)`
    pub features: Vec<usize>,
}

/// One name that a `use` brings in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The name in this file; `*` for all of a module.
    pub name: String,
    pub path: Vec<String>,
    pub line: usize,
}

impl Source {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut source = Self::default();
        source.read(&tokens(text)?);
        Ok(source)
    }

    fn read(&mut self, tokens: &[Token]) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += match token {
                Token::Sign('#', line) => self.attribute(&tokens[at..], *line),
                Token::Word(..) => self.word(tokens, at),
                Token::Group(_, inside) => {
                    self.read(inside);
                    1
                }
                _ => 1,
            };
        }
    }

    /// Reads what begins with a word; returns how many tokens that are.
    fn word(&mut self, tokens: &[Token], at: usize) -> usize {
        let rest = &tokens[at..];
        let Token::Word(word, line) = &rest[0] else { return 1 };
        match (word.as_str(), rest.get(1), rest.get(2)) {
            ("mod", Some(Token::Word(name, _)), Some(Token::Group('{', body))) => {
                let mut inner = Self::default();
                inner.read(body);
                self.inline.push((name.clone(), inner));
                3
            }
            ("mod", Some(Token::Word(name, _)), _) => {
                self.files.push(name.clone());
                2
            }
            // `impl Trait + use<'_>` imports nothing.
            ("use", Some(next), _) if !next.is('<') => {
                let end = rest.iter().position(|token| token.is(';')).unwrap_or(rest.len());
                self.import(&rest[1..end], &[], *line);
                end
            }
            ("unsafe", ..) => {
                self.marks.unsafe_code.push(*line);
                1
            }
            ("feature", Some(next), _) if next.is('=') => {
                self.marks.features.push(*line);
                1
            }
            _ => {
                let (path, length) = path(rest);
                // `.name` is a field or a method; what follows `>::` belongs to a type.
                let goes_on = at > 0 && (tokens[at - 1].is('.') || joined(tokens, at));
                if path.len() > 1 && !goes_on {
                    self.mentions.push((path, *line));
                }
                length
            }
        }
    }

    /// Reads an attribute, and steps over the item below it where that is for tests.
    fn attribute(&mut self, tokens: &[Token], line: usize) -> usize {
        let inner = usize::from(tokens.get(1).is_some_and(|token| token.is('!')));
        let Some(Token::Group('[', words)) = tokens.get(1 + inner) else { return 1 };
        let length = 2 + inner;
        if is_cfg_test(words) {
            return if inner == 1 { tokens.len() } else { length + self.skip_item(&tokens[length..]) };
        }
        if words.first().is_some_and(|word| word.word() == "path") || has_path(words) {
            self.marks.paths.push(line);
        }
        self.read(words);
        length
    }

    /// How many tokens the next item has.
    fn skip_item(&mut self, tokens: &[Token]) -> usize {
        let mut first = 0;
        loop {
            match tokens.get(first) {
                Some(Token::Sign('#', _)) => first += 2,
                Some(Token::Word(word, _)) if word == "pub" => first += 1,
                Some(Token::Group('(', _)) => first += 1,
                _ => break,
            }
        }
        let word = |at: usize| tokens.get(first + at).map_or("", Token::word);
        if word(0) == "mod" && tokens.get(first + 2).is_some_and(|token| token.is(';')) {
            self.test_files.push(word(1).into());
        }
        let has_semicolon = match word(0) {
            "use" | "static" | "type" | "let" => true,
            "const" => word(1) != "fn",
            _ => false,
        };
        let is_end = |token: &Token| token.is(';') || !has_semicolon && matches!(token, Token::Group('{', _));
        tokens.iter().position(is_end).map_or(tokens.len(), |end| end + 1)
    }

    /// Reads `a::{b, c::d as e, self, *}` below `front`.
    fn import(&mut self, tokens: &[Token], front: &[String], line: usize) {
        let (tail, length) = path(tokens);
        let mut full = front.to_vec();
        full.extend(tail);
        match tokens[length..].iter().find(|token| !token.is(':')) {
            Some(Token::Group(_, inside)) => {
                for one in inside.split(|token| token.is(',')).filter(|one| !one.is_empty()) {
                    self.import(one, &full, line);
                }
            }
            other => {
                if full.len() > 1 && full.last().is_some_and(|last| last == "self") {
                    full.pop();
                }
                let name = match other {
                    Some(Token::Sign('*', _)) => "*",
                    // `as name`
                    Some(_) => tokens.last().map_or("", Token::word),
                    None => full.last().map_or("", String::as_str),
                };
                self.imports.push(Import { name: name.into(), path: full.clone(), line });
            }
        }
    }
}

/// The words at the front that `::` joins, and how many tokens they are.
fn path(tokens: &[Token]) -> (Vec<String>, usize) {
    let mut words = Vec::new();
    let mut at = 0;
    // A path may begin with `::`.
    while tokens.get(at).is_some_and(|token| token.is(':')) {
        at += 1;
    }
    while let Some(Token::Word(word, _)) = tokens.get(at) {
        words.push(word.clone());
        at += 1;
        if !(joined(tokens, at + 2) && matches!(tokens.get(at + 2), Some(Token::Word(..)))) {
            break;
        }
        at += 2;
    }
    (words, at)
}

/// Whether `::` comes right before.
fn joined(tokens: &[Token], at: usize) -> bool {
    let two = at.checked_sub(2).and_then(|from| tokens.get(from..at));
    two.is_some_and(|two| two.iter().all(|token| token.is(':')))
}

/// `cfg(test)`, alone or among other conditions that must all hold.
fn is_cfg_test(words: &[Token]) -> bool {
    let [cfg, Token::Group('(', condition)] = words else { return false };
    let is_test = |tokens: &[Token]| matches!(tokens, [test] if test.word() == "test");
    cfg.word() == "cfg"
        && match condition.as_slice() {
            [all, Token::Group('(', each)] if all.word() == "all" => {
                each.split(|token| token.is(',')).any(is_test)
            }
            alone => is_test(alone),
        }
}

/// `cfg_attr(…, path = …)`
fn has_path(words: &[Token]) -> bool {
    let [cfg_attr, Token::Group('(', inside)] = words else { return false };
    let path = |two: &[Token]| two[0].word() == "path" && two[1].is('=');
    cfg_attr.word() == "cfg_attr" && inside.windows(2).any(path)
}
