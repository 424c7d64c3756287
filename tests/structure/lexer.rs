//! Rust's text as words, signs and groups in brackets. Comments are left out.

use std::iter::Peekable;
use std::str::Chars;

/// A piece of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Word(String, usize),
    Sign(char, usize),
    /// A number, a character, or a string with what it holds.
    Literal(String),
    /// What stands between two brackets; the first one names them.
    Group(char, Vec<Token>),
}

impl Token {
    pub fn is(&self, sign: char) -> bool {
        matches!(self, Self::Sign(is, _) if *is == sign)
    }

    pub fn word(&self) -> &str {
        if let Self::Word(word, _) = self { word } else { "" }
    }
}

/// Reads the text of a file.
pub fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer { rest: text.chars().peekable(), line: 1 };
    let tokens = lexer.until(None)?;
    Ok(tokens)
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn next_if(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        if self.rest.peek().is_some_and(|next| wanted(*next)) { self.next() } else { None }
    }

    /// The characters that are wanted.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> String {
        std::iter::from_fn(|| self.next_if(&wanted)).collect()
    }

    /// Reads up to the bracket that closes, or to the end of the text.
    fn until(&mut self, close: Option<char>) -> Result<Vec<Token>, String> {
        let begin = self.line;
        let mut tokens = Vec::new();
        while let Some(next) = self.next() {
            match next {
                '/' if self.next_if(|c| c == '/').is_some() => drop(self.take(|c| c != '\n')),
                '/' if self.next_if(|c| c == '*').is_some() => self.comment(),
                '(' => tokens.push(Token::Group('(', self.until(Some(')'))?)),
                '[' => tokens.push(Token::Group('[', self.until(Some(']'))?)),
                '{' => tokens.push(Token::Group('{', self.until(Some('}'))?)),
                ')' | ']' | '}' if Some(next) == close => return Ok(tokens),
                ')' | ']' | '}' => return Err(format!("line {}: `{next}` closes nothing", self.line)),
                '"' => tokens.push(Token::Literal(self.string())),
                '\'' => tokens.extend(self.quote()),
                c if c.is_ascii_digit() => {
                    tokens.push(Token::Literal(format!("{c}{}", self.take(is_word))));
                }
                c if is_word(c) => tokens.push(self.word(c)),
                c if c.is_whitespace() => {}
                c => tokens.push(Token::Sign(c, self.line)),
            }
        }
        close.map_or(Ok(tokens), |close| Err(format!("line {begin}: no `{close}` follows")))
    }

    /// A word, or a string with a prefix such as `br#`.
    fn word(&mut self, first: char) -> Token {
        let line = self.line;
        let word = format!("{first}{}", self.take(is_word));
        let is_prefix = matches!(word.as_str(), "r" | "br" | "cr" | "b" | "c");
        if is_prefix && word.ends_with('r') {
            let hashes = self.take(|c| c == '#').len();
            if self.next_if(|c| c == '"').is_some() {
                return Token::Literal(self.raw_string(hashes));
            }
        } else if is_prefix && self.next_if(|c| c == '"').is_some() {
            return Token::Literal(self.string());
        }
        Token::Word(word, line)
    }

    /// What follows a `"`.
    fn string(&mut self) -> String {
        let mut text = String::new();
        while let Some(next) = self.next().filter(|c| *c != '"') {
            text.push(next);
            if next == '\\' {
                text.extend(self.next());
            }
        }
        text
    }

    fn raw_string(&mut self, hashes: usize) -> String {
        let mut text = String::new();
        let end = format!("\"{}", "#".repeat(hashes));
        while !text.ends_with(&end) {
            let Some(next) = self.next() else { break };
            text.push(next);
        }
        text.strip_suffix(&end).unwrap_or(&text).into()
    }

    /// A character; nothing for a lifetime.
    fn quote(&mut self) -> Option<Token> {
        let first = self.next()?;
        if first == '\\' {
            let escaped: String = self.next().into_iter().chain(self.take(|c| c != '\'').chars()).collect();
            self.next();
            return Some(Token::Literal(format!("\\{escaped}")));
        }
        if self.next_if(|c| c == '\'').is_some() {
            return Some(Token::Literal(first.into()));
        }
        self.take(is_word);
        None
    }

    /// The rest of a comment, with those in it.
    fn comment(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                Some('*') if self.next_if(|c| c == '/').is_some() => depth -= 1,
                Some('/') if self.next_if(|c| c == '*').is_some() => depth += 1,
                Some(_) => {}
                None => return,
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
