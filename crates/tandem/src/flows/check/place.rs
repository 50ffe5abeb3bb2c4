//! A place in a body. It costs one small node, whatever the length of the keys above it; the JSON pointer is written
//! only when a problem is reported there. Invariant: reading a body takes memory in proportion to the body.

use std::{fmt::Write as _, rc::Rc};

use crate::flows::lenient::push_segment;

/// Where a value stands, from the body's root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place(Option<Rc<Node>>);

#[derive(Debug)]
struct Node {
    parent: Place,
    segment: Segment,
}

#[derive(Debug)]
enum Segment {
    Key(Box<str>),
    Index(usize),
}

impl Place {
    /// The value of a key of the object here.
    pub(crate) fn key(&self, key: &str) -> Self {
        self.below(Segment::Key(key.into()))
    }

    /// An item of the list here.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.below(Segment::Index(index))
    }

    fn below(&self, segment: Segment) -> Self {
        Self(Some(Rc::new(Node { parent: self.clone(), segment })))
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        let mut nodes = Vec::new();
        let mut at = &place;
        while let Some(node) = &at.0 {
            nodes.push(node);
            at = &node.parent;
        }
        let mut pointer = Self::new();
        for node in nodes.into_iter().rev() {
            match &node.segment {
                Segment::Key(key) => push_segment(&mut pointer, key),
                Segment::Index(index) => {
                    let _written = write!(pointer, "/{index}");
                }
            }
        }
        pointer
    }
}
