//! The `Debug` text of two unrelated implementations, made comparable.
//!
//! Wrappers of one value (`TopicName(x)`, but not `Some(x)`) mean the value, a struct means its fields by
//! name, bytes mean the list of their numbers.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

#[derive(Debug, PartialEq)]
pub(crate) enum Tree {
    Fields(BTreeMap<String, Self>),
    List(Vec<Self>),
    Some(Box<Self>),
    Leaf(String),
}

struct Parser<'t> {
    text: Peekable<Chars<'t>>,
}

impl Tree {
    pub(crate) fn of(value: &impl std::fmt::Debug) -> Self {
        let text = format!("{value:?}");
        let mut parser = Parser { text: text.chars().peekable() };
        let tree = parser.value();
        assert_eq!(parser.text.next(), None, "all of {text} is parsed");
        tree
    }
}

impl Parser<'_> {
    fn value(&mut self) -> Tree {
        match self.text.peek() {
            Some('[') => return Tree::List(self.items('[', ']')),
            Some('{') => return self.fields(),
            Some('"') => return Tree::Leaf(self.quoted()),
            _ => {}
        }
        let word = self.word();
        let opens_fields = self.text.clone().take(2).eq([' ', '{']);
        match self.text.peek() {
            Some('(') => {
                let inner = self.items('(', ')').pop().expect("a wrapper holds a value");
                if word == "Some" { Tree::Some(Box::new(inner)) } else { inner }
            }
            Some('"') if word == "b" => bytes(&self.quoted()),
            Some(' ') if opens_fields => {
                self.text.next();
                self.fields()
            }
            _ => Tree::Leaf(word),
        }
    }

    fn items(&mut self, open: char, close: char) -> Vec<Tree> {
        self.expect(open);
        let mut items = Vec::new();
        while !self.skip(close) {
            items.push(self.value());
            self.skip(',');
            self.skip(' ');
        }
        items
    }

    fn fields(&mut self) -> Tree {
        self.expect('{');
        self.skip(' ');
        let mut fields = BTreeMap::new();
        while !self.skip('}') {
            let name = self.word();
            self.expect(':');
            self.expect(' ');
            fields.insert(name, self.value());
            self.skip(',');
            self.skip(' ');
        }
        Tree::Fields(fields)
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(letter) = self.text.next_if(|letter| !" ,:()[]{}\"".contains(*letter)) {
            word.push(letter);
        }
        word
    }

    /// A quoted text, escapes and quotes included.
    fn quoted(&mut self) -> String {
        self.expect('"');
        let mut text = String::from('"');
        loop {
            let letter = self.text.next().expect("a text ends with a quote");
            text.push(letter);
            match letter {
                '\\' => text.push(self.text.next().expect("an escape has a second letter")),
                '"' => return text,
                _ => {}
            }
        }
    }

    fn skip(&mut self, letter: char) -> bool {
        self.text.next_if_eq(&letter).is_some()
    }

    fn expect(&mut self, letter: char) {
        assert_eq!(self.text.next(), Some(letter));
    }
}

/// The bytes of `"\x00ab\n"`, as a list of numbers.
fn bytes(quoted: &str) -> Tree {
    let mut letters = quoted[1..quoted.len() - 1].chars();
    let mut numbers = Vec::new();
    while let Some(letter) = letters.next() {
        let byte = match (letter, letter == '\\') {
            (plain, false) => plain as u8,
            _ => match letters.next().expect("an escape has a second letter") {
                'x' => {
                    let digits: String = letters.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).unwrap()
                }
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                '0' => 0,
                itself => itself as u8,
            },
        };
        numbers.push(Tree::Leaf(byte.to_string()));
    }
    Tree::List(numbers)
}
