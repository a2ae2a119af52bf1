//! Numbered places that are used again, and lists that run through them.
//!
//! Places come in chunks, so growing copies nothing. Each place has the links of `N` lists; a free
//! one uses the first to find the next free one. Whoever is in a list can leave it at once.

use crate::prefetch::prefetch;

use super::index::NONE;

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

/// Neighbours in a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) prev: u32,
    pub(super) next: u32,
}

impl Link {
    /// In no list, or alone in it.
    pub(super) const NONE: Self = Self { prev: NONE, next: NONE };
}

/// A value, if there is one, and its links.
#[derive(Debug)]
pub(super) struct Place<T, const N: usize> {
    value: Option<T>,
    links: [Link; N],
}

/// See the module.
#[derive(Debug)]
pub(super) struct Slab<T, const N: usize> {
    chunks: Vec<Vec<Place<T, N>>>,
    free: u32,
    len: usize,
}

impl<T, const N: usize> Slab<T, N> {
    /// Bytes of a place.
    pub(super) const BYTES: usize = size_of::<Place<T, N>>();

    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0 }
    }

    /// Values.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn place(&self, place: u32) -> Option<&Place<T, N>> {
        self.chunks.get((place >> CHUNK_BITS) as usize)?.get(place as usize % CHUNK)
    }

    fn place_mut(&mut self, place: u32) -> Option<&mut Place<T, N>> {
        self.chunks.get_mut((place >> CHUNK_BITS) as usize)?.get_mut(place as usize % CHUNK)
    }

    pub(super) fn get(&self, place: u32) -> Option<&T> {
        self.place(place)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.place_mut(place)?.value.as_mut()
    }

    /// Brings a place near: it lies in two or three cache lines.
    pub(super) fn prefetch(&self, place: u32) {
        if let Some(place) = self.place(place) {
            prefetch(place);
            prefetch(&place.links);
        }
    }

    /// The links of a place that has a value, or had one a moment ago.
    pub(super) fn link(&self, place: u32, list: usize) -> Link {
        self.place(place).map_or(Link::NONE, |place| place.links[list])
    }

    pub(super) fn link_mut(&mut self, place: u32, list: usize) -> Option<&mut Link> {
        self.place_mut(place).map(|place| &mut place.links[list])
    }

    /// Puts a value somewhere; in no list.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        let links = [Link::NONE; N];
        let free = self.free;
        if let Some(place) = self.place_mut(free) {
            let next_free = place.links[0].next;
            *place = Place { value: Some(value), links };
            self.free = next_free;
            return free;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) << CHUNK_BITS;
        let Some(chunk) = self.chunks.last_mut() else { return NONE };
        chunk.push(Place { value: Some(value), links });
        (before + chunk.len() - 1) as u32
    }

    /// Takes a value out; it must have left its lists.
    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let free = self.free;
        let emptied = self.place_mut(place)?;
        let value = emptied.value.take()?;
        emptied.links[0].next = free;
        self.free = place;
        self.len -= 1;
        Some(value)
    }

    /// Every value and its place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = self.chunks.iter().flatten();
        places.zip(0..).filter_map(|(place, number)| Some((number, place.value.as_ref()?)))
    }
}

/// A list through the links of number `L`, first in first out.
#[derive(Debug)]
pub(super) struct List<const L: usize> {
    first: u32,
    last: u32,
}

impl<const L: usize> List<L> {
    pub(super) const fn new() -> Self {
        Self { first: NONE, last: NONE }
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub(super) fn push_back<T, const N: usize>(&mut self, slab: &mut Slab<T, N>, place: u32) {
        if let Some(link) = slab.link_mut(place, L) {
            *link = Link { prev: self.last, next: NONE };
        }
        match slab.link_mut(self.last, L) {
            Some(last) => last.next = place,
            None => self.first = place,
        }
        self.last = place;
    }

    /// Takes a place out, which must be in this list.
    pub(super) fn remove<T, const N: usize>(&mut self, slab: &mut Slab<T, N>, place: u32) {
        let Link { prev, next } = slab.link(place, L);
        match slab.link_mut(prev, L) {
            Some(before) => before.next = next,
            None => self.first = next,
        }
        match slab.link_mut(next, L) {
            Some(after) => after.prev = prev,
            None => self.last = prev,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed<const L: usize>(slab: &Slab<u32, 2>, list: &List<L>) -> Vec<u32> {
        let next = |place: &u32| Some(slab.link(*place, L).next).filter(|next| *next != NONE);
        std::iter::successors(list.first(), next).collect()
    }

    #[test]
    fn places_are_used_again_and_leave_lists_at_once() {
        let (mut slab, mut list) = (Slab::<u32, 2>::new(), List::<1>::new());
        let places: Vec<u32> = (0..3000).map(|value| slab.insert(value)).collect();
        assert_eq!(places, (0..3000).collect::<Vec<_>>());
        for place in &places {
            list.push_back(&mut slab, *place);
        }
        for place in places.iter().filter(|place| *place % 3 != 1) {
            list.remove(&mut slab, *place);
            assert_eq!(slab.remove(*place), Some(*place));
        }
        let kept: Vec<u32> = (0..3000).filter(|value| value % 3 == 1).collect();
        assert_eq!((listed(&slab, &list), slab.len()), (kept, 1000));
        for value in 0..2000 {
            assert!(slab.insert(value) < 3000, "a free place comes first");
        }
        assert_eq!((slab.insert(7), slab.iter().count()), (3000, 3001));
    }
}
