//! Which number of a pool a pair shows: a pure choice.
//!
//! Invariant: a number that is free is chosen whenever there is one. A pair keeps the number that it has as long as that is
//! free and in the pool.

use std::collections::HashMap;

/// What can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A number that neither party sees for another pair.
    Free(String),
    /// Each is one that they see already.
    Exhausted,
}

/// What the two parties of a pair see already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The number that the pair itself has.
    pub own: Option<String>,
    /// Those of other open pairs of either party.
    pub of_others: Vec<String>,
}

/// Chooses a number that neither of the two sees for another pair.
#[must_use]
pub fn choose(pool: &[String], seen: &Seen) -> Choice {
    let is_free = |number: &&String| !seen.of_others.contains(number);
    let own = pool.iter().filter(|number| Some(*number) == seen.own.as_ref()).find(is_free);
    match own.or_else(|| pool.iter().find(is_free)) {
        Some(number) => Choice::Free(number.clone()),
        None => Choice::Exhausted,
    }
}

/// The number that a pair shares with others: its own if it has one of the pool, so that its parties need not learn
/// another; else the one that the fewest open pairs show, of several the first.
#[must_use]
pub fn shared(pool: &[String], seen: &Seen, counts: &HashMap<String, u64>) -> Option<String> {
    let own = pool.iter().find(|number| Some(*number) == seen.own.as_ref());
    own.or_else(|| pool.iter().min_by_key(|number| counts.get(*number).copied().unwrap_or(0))).cloned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_free_one_is_chosen_and_an_own_one_is_kept() {
        let pool = numbers(&["+1", "+2", "+3"]);
        let seen =
            |own: Option<&str>, others: &[&str]| Seen { own: own.map(str::to_owned), of_others: numbers(others) };
        let table = [
            (seen(None, &[]), Some("+1")),
            (seen(None, &["+1"]), Some("+2")),
            (seen(Some("+3"), &["+1"]), Some("+3")),
            (seen(Some("+3"), &["+3"]), Some("+1")),
            (seen(Some("+9"), &[]), Some("+1")),
            (seen(Some("+2"), &["+1", "+2", "+3"]), None),
        ];
        for (seen, chosen) in table {
            let expected = chosen.map_or(Choice::Exhausted, |number| Choice::Free(number.to_owned()));
            assert_eq!(choose(&pool, &seen), expected, "{seen:?}");
        }
        let counts = HashMap::from([("+1".to_owned(), 2), ("+2".to_owned(), 1), ("+3".to_owned(), 1)]);
        for (own, expected) in [(None, "+2"), (Some("+1"), "+1"), (Some("+9"), "+2")] {
            assert_eq!(shared(&pool, &seen(own, &[]), &counts).as_deref(), Some(expected), "{own:?}");
        }
        assert_eq!(shared(&[], &seen(Some("+1"), &[]), &counts), None);
    }

    /// An open pair of two of a few people.
    #[derive(Clone, Debug)]
    struct Open {
        people: [u8; 2],
        number: String,
        exhausted: bool,
    }

    proptest! {
        /// Pairs open and close in any order: as long as a number is free for both, no callee sees one twice.
        #[test]
        fn no_number_is_used_twice_towards_the_same_callee_while_one_is_free(
            size in 1_usize..6,
            steps in prop::collection::vec((any::<bool>(), 0_u8..5, 0_u8..5, any::<prop::sample::Index>()), 1..60),
        ) {
            let pool: Vec<String> = (0..size).map(|n| format!("+4420718387{n:02}")).collect();
            let mut open: Vec<Open> = Vec::new();
            for (closes, a, b, which) in steps {
                if closes && !open.is_empty() {
                    open.swap_remove(which.index(open.len()));
                    continue;
                }
                let near = |pair: &&Open| pair.people.iter().any(|person| [a, b].contains(person));
                let of_others: Vec<String> = open.iter().filter(near).map(|pair| pair.number.clone()).collect();
                let mut counts: HashMap<String, u64> = HashMap::new();
                open.iter().for_each(|pair| *counts.entry(pair.number.clone()).or_default() += 1);
                let seen = Seen { own: None, of_others: of_others.clone() };
                let (number, exhausted) = match choose(&pool, &seen) {
                    Choice::Free(number) => (number, false),
                    Choice::Exhausted => {
                        prop_assert!(pool.iter().all(|number| of_others.contains(number)), "it was really exhausted");
                        let number = shared(&pool, &seen, &counts).unwrap();
                        let fewest = pool.iter().map(|number| counts.get(number).copied().unwrap_or(0)).min();
                        prop_assert_eq!(counts.get(&number).copied().or(Some(0)), fewest);
                        (number, true)
                    }
                };
                prop_assert!(pool.contains(&number));
                open.push(Open { people: [a, b], number, exhausted });
                for (at, one) in open.iter().enumerate() {
                    for other in open.iter().skip(at + 1).filter(|other| other.number == one.number) {
                        let shared = one.people.iter().any(|person| other.people.contains(person));
                        prop_assert!(!shared || one.exhausted || other.exhausted, "{one:?} {other:?}");
                    }
                }
            }
        }
    }
}
