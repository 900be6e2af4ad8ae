//! Numbered places for values, in chunks: nothing is copied when it grows.

/// A place that stands for "none".
pub const NIL: u32 = u32::MAX;

/// Values at places 0, 1, 2 … without a gap.
#[derive(Clone)]
pub struct Slab<T> {
    chunks: Vec<Vec<T>>,
    length: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            chunks: Vec::new(),
            length: 0,
        }
    }
}

impl<T> Slab<T> {
    /// Values of a chunk: 4 to 6 KiB, which the allocator serves without waste.
    const CHUNK: usize = 128;

    /// How many values there are.
    pub fn len(&self) -> u32 {
        self.length
    }

    fn split(place: u32) -> (usize, usize) {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        (
            place.wrapping_div(Self::CHUNK),
            place.wrapping_rem(Self::CHUNK),
        )
    }

    /// The value at a place; `None` beyond the last and at [`NIL`].
    pub fn get(&self, place: u32) -> Option<&T> {
        let (chunk, index) = Self::split(place);
        self.chunks.get(chunk)?.get(index)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        let (chunk, index) = Self::split(place);
        self.chunks.get_mut(chunk)?.get_mut(index)
    }

    /// Adds a value behind the last; its place. `None` when all 2^32-1 places are taken.
    pub fn push(&mut self, value: T) -> Option<u32> {
        let place = self.length;
        self.length = place.checked_add(1).filter(|length| *length < NIL)?;
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < Self::CHUNK => chunk.push(value),
            _ => {
                // A reader with a handful of entries does not take a whole chunk.
                let capacity = if place == 0 { 4 } else { Self::CHUNK };
                let mut chunk = Vec::with_capacity(capacity);
                chunk.push(value);
                self.chunks.push(chunk);
            }
        }
        Some(place)
    }

    /// Takes the last value.
    pub fn pop(&mut self) -> Option<T> {
        let chunk = self.chunks.last_mut()?;
        let value = chunk.pop();
        if chunk.is_empty() {
            self.chunks.pop();
            if self.chunks.len() < self.chunks.capacity().wrapping_div(4) {
                self.chunks.shrink_to(self.chunks.len().saturating_mul(2));
            }
        }
        if value.is_some() {
            self.length = self.length.saturating_sub(1);
        }
        value
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().map(Vec::capacity);
        let values = chunks.fold(0usize, usize::saturating_add);
        let values = values.saturating_mul(size_of::<T>());
        let heads = self.chunks.capacity().saturating_mul(size_of::<Vec<T>>());
        values.saturating_add(heads)
    }
}
