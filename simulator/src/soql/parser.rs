//! SOQL text to [`Query`], by recursive descent.

use super::ast::{Condition, Function, Literal, Operator, Ordering, Path, Query, Selected};
use super::lexer::{Placed, Token, malformed, tokens};
use super::literal;
use crate::error::ApiError;

/// Reads one query.
///
/// # Errors
/// `MALFORMED_QUERY` with the place, as the vendor words it.
pub(crate) fn parse(soql: &str) -> Result<Query, ApiError> {
    if soql.len() > MAX_LENGTH {
        let message = format!("SOQL statements cannot be longer than {MAX_LENGTH} characters.");
        return Err(ApiError::bad_request("MALFORMED_QUERY", message));
    }
    let mut parser = Parser { soql, tokens: tokens(soql)?, next: 0, depth: 0 };
    if !parser.peek_word("SELECT") {
        return Err(parser.unexpected());
    }
    let query = parser.query()?;
    if parser.next < parser.tokens.len() {
        return Err(parser.unexpected());
    }
    Ok(query)
}

const MAX_LENGTH: usize = 100_000;
/// Deeper nesting is refused: the parser recurses, and a text of parentheses must not exhaust its stack.
const MAX_DEPTH: usize = 100;

struct Parser<'a> {
    soql: &'a str,
    tokens: Vec<Placed>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Query, ApiError> {
        self.expect_word("SELECT")?;
        let select = self.list(Self::selected)?;
        self.expect_word("FROM")?;
        let (object, object_at) = self.word()?;
        self.skip_alias();
        if self.accept_word("USING") {
            self.expect_word("SCOPE")?;
            self.word()?;
        }
        let condition = if self.accept_word("WHERE") { Some(self.disjunction()?) } else { None };
        self.skip_with_clause()?;
        let group_by = if self.accept_words(&["GROUP", "BY"]) { self.list(Self::path)? } else { Vec::new() };
        let order_by = if self.accept_words(&["ORDER", "BY"]) { self.list(Self::ordering)? } else { Vec::new() };
        let limit = if self.accept_word("LIMIT") { Some(self.count()?) } else { None };
        let offset = if self.accept_word("OFFSET") { Some(self.count()?) } else { None };
        let all_rows = self.accept_words(&["ALL", "ROWS"]);
        if self.accept_word("FOR") {
            self.word()?;
        }
        Ok(Query { select, object, object_at, condition, group_by, order_by, limit, offset, all_rows })
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, ApiError>) -> Result<Vec<T>, ApiError> {
        let mut items = vec![item(self)?];
        while self.accept_sign(',') {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn selected(&mut self) -> Result<Selected, ApiError> {
        let at = self.place();
        if self.accept_sign('(') {
            let query = Box::new(self.query()?);
            self.expect_sign(')')?;
            return Ok(Selected::Children { query, at });
        }
        if self.peek_word("TYPEOF") {
            return Err(malformed(self.soql, at, "TYPEOF is not supported"));
        }
        let path = self.path()?;
        if !self.accept_sign('(') {
            self.skip_alias();
            return Ok(Selected::Field(path));
        }
        let name = path.steps.join(".").to_uppercase();
        if name == "FIELDS" {
            let (scope, at) = self.word()?;
            self.expect_sign(')')?;
            return Ok(Selected::Fields { scope: scope.to_uppercase(), at });
        }
        let argument = if self.peek_sign(')') { None } else { Some(self.path()?) };
        self.expect_sign(')')?;
        let function = match (name.as_str(), &argument) {
            ("COUNT", _) => Function::Count,
            ("COUNT_DISTINCT", Some(_)) => Function::CountDistinct,
            ("SUM", Some(_)) => Function::Sum,
            ("AVG", Some(_)) => Function::Avg,
            ("MIN", Some(_)) => Function::Min,
            ("MAX", Some(_)) => Function::Max,
            // Display functions change the form of the value, not the value.
            ("TOLABEL" | "FORMAT" | "CONVERTCURRENCY", Some(field)) => {
                self.skip_alias();
                return Ok(Selected::Field(field.clone()));
            }
            _ => return Err(malformed(self.soql, at, &format!("unexpected token: '{name}'"))),
        };
        Ok(Selected::Aggregate { function, argument, alias: self.alias() })
    }

    fn disjunction(&mut self) -> Result<Condition, ApiError> {
        let first = self.conjunction()?;
        let mut all = vec![first];
        while self.accept_word("OR") {
            all.push(self.conjunction()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::Or(all) })
    }

    fn conjunction(&mut self) -> Result<Condition, ApiError> {
        let mut all = vec![self.negation()?];
        while self.accept_word("AND") {
            all.push(self.negation()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Condition::And(all) })
    }

    fn negation(&mut self) -> Result<Condition, ApiError> {
        if self.depth > MAX_DEPTH {
            return Err(malformed(self.soql, self.place(), "the condition is nested too deeply"));
        }
        self.depth += 1;
        let condition = self.operand();
        self.depth -= 1;
        condition
    }

    fn operand(&mut self) -> Result<Condition, ApiError> {
        if self.accept_word("NOT") {
            return Ok(Condition::Not(Box::new(self.negation()?)));
        }
        if self.accept_sign('(') {
            let inner = self.disjunction()?;
            self.expect_sign(')')?;
            return Ok(inner);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, ApiError> {
        let field = self.path()?;
        if self.accept_word("LIKE") {
            let at = self.place();
            return match self.take() {
                Some(Token::Text(pattern)) => Ok(Condition::Like { field, pattern }),
                _ => Err(malformed(self.soql, at, "LIKE needs a quoted text")),
            };
        }
        if self.accept_word("IN") {
            return self.membership(field, false);
        }
        if self.accept_words(&["NOT", "IN"]) {
            return self.membership(field, true);
        }
        let operator = match self.peek() {
            Some(Token::Comparison(sign)) => operator(sign),
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        let value = self.literal()?;
        Ok(Condition::Compare { field, operator, value })
    }

    fn membership(&mut self, field: Path, negated: bool) -> Result<Condition, ApiError> {
        self.expect_sign('(')?;
        let condition = if self.peek_word("SELECT") {
            Condition::InQuery { field, query: Box::new(self.query()?), negated }
        } else {
            Condition::In { field, values: self.list(Self::literal)?, negated }
        };
        self.expect_sign(')')?;
        Ok(condition)
    }

    fn literal(&mut self) -> Result<Literal, ApiError> {
        let at = self.place();
        let token = self.take();
        let parsed = match &token {
            Some(Token::Text(text)) => Some(Literal::Text(text.clone())),
            Some(Token::Scalar(text)) => literal::scalar(text),
            Some(Token::Word(word)) => {
                let count = if self.accept_sign(':') { Some(self.count()?) } else { None };
                literal::named(word, count)
            }
            _ => None,
        };
        parsed.ok_or_else(|| {
            self.next -= usize::from(token.is_some());
            malformed(self.soql, at, &self.unexpected_reason())
        })
    }

    fn ordering(&mut self) -> Result<Ordering, ApiError> {
        let field = self.path()?;
        let descending = self.accept_word("DESC");
        if !descending {
            self.accept_word("ASC");
        }
        let nulls_last = if self.accept_word("NULLS") {
            let (place, at) = self.word()?;
            match place.to_uppercase().as_str() {
                "FIRST" => Some(false),
                "LAST" => Some(true),
                _ => return Err(malformed(self.soql, at, &format!("unexpected token: '{place}'"))),
            }
        } else {
            None
        };
        Ok(Ordering { field, descending, nulls_last })
    }

    fn path(&mut self) -> Result<Path, ApiError> {
        let (word, at) = self.word()?;
        Ok(Path { steps: word.split('.').map(str::to_owned).collect(), at })
    }

    fn count(&mut self) -> Result<u64, ApiError> {
        let number = match self.peek() {
            Some(Token::Scalar(text)) => text.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.unexpected())?;
        self.next += 1;
        Ok(number)
    }

    fn word(&mut self) -> Result<(String, usize), ApiError> {
        let at = self.place();
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.next += 1;
                Ok((word, at))
            }
            _ => Err(self.unexpected()),
        }
    }

    /// An alias is a word that no clause begins with.
    fn alias(&mut self) -> Option<String> {
        const CLAUSES: [&str; 11] =
            ["FROM", "WHERE", "WITH", "GROUP", "ORDER", "LIMIT", "OFFSET", "ALL", "FOR", "USING", "HAVING"];
        let Some(Token::Word(word)) = self.peek() else { return None };
        if word.contains('.') || CLAUSES.contains(&word.to_uppercase().as_str()) {
            return None;
        }
        let word = word.clone();
        self.next += 1;
        Some(word)
    }

    fn skip_alias(&mut self) {
        if self.accept_word("AS") {
            self.next += 1;
            return;
        }
        self.alias();
    }

    /// `WITH SECURITY_ENFORCED` and its like: everyone may see everything here.
    fn skip_with_clause(&mut self) -> Result<(), ApiError> {
        if self.accept_word("WITH") {
            self.word()?;
        }
        Ok(())
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|placed| &placed.token)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.next += usize::from(token.is_some());
        token
    }

    fn place(&self) -> usize {
        self.tokens.get(self.next).map_or(self.soql.len(), |placed| placed.at)
    }

    fn peek_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        self.next += usize::from(found);
        found
    }

    fn accept_words(&mut self, words: &[&str]) -> bool {
        let matches = words.iter().enumerate().all(|(ahead, word)| {
            matches!(self.tokens.get(self.next + ahead), Some(Placed { token: Token::Word(found), .. }) if found.eq_ignore_ascii_case(word))
        });
        self.next += if matches { words.len() } else { 0 };
        matches
    }

    fn expect_word(&mut self, word: &str) -> Result<(), ApiError> {
        if self.accept_word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn peek_sign(&self, sign: char) -> bool {
        self.peek() == Some(&Token::Sign(sign))
    }

    fn accept_sign(&mut self, sign: char) -> bool {
        let found = self.peek_sign(sign);
        self.next += usize::from(found);
        found
    }

    fn expect_sign(&mut self, sign: char) -> Result<(), ApiError> {
        if self.accept_sign(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> ApiError {
        malformed(self.soql, self.place(), &self.unexpected_reason())
    }

    fn unexpected_reason(&self) -> String {
        let found = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            Some(Token::Text(text)) => format!("'{text}'"),
            Some(Token::Scalar(text)) => text.clone(),
            Some(Token::Comparison(sign)) => (*sign).to_owned(),
            Some(Token::Sign(sign)) => sign.to_string(),
            None => "<EOF>".to_owned(),
        };
        format!("unexpected token: '{found}'")
    }
}

fn operator(sign: &str) -> Operator {
    match sign {
        "=" => Operator::Equal,
        "!=" => Operator::NotEqual,
        "<" => Operator::Less,
        "<=" => Operator::LessOrEqual,
        ">" => Operator::Greater,
        _ => Operator::GreaterOrEqual,
    }
}
