/// The credit of one link, by the rules of contract §5.5.
#[derive(Debug)]
pub(crate) struct Credit {
    /// How many deliveries the sender has begun to send; a serial number that wraps.
    delivery_count: u32,
    /// How many more it may send.
    outstanding: u32,
    prefetch: u32,
}

impl Credit {
    pub(crate) fn new(prefetch: u32) -> Self {
        Self { delivery_count: 0, outstanding: 0, prefetch }
    }

    /// The sender counts from here.
    pub(crate) fn begin(&mut self, initial_delivery_count: u32) {
        self.delivery_count = initial_delivery_count;
    }

    /// A delivery came; `false` if it was never allowed.
    pub(crate) fn use_one(&mut self) -> bool {
        let Some(left) = self.outstanding.checked_sub(1) else {
            return false;
        };
        self.outstanding = left;
        self.delivery_count = self.delivery_count.wrapping_add(1);
        true
    }

    /// Tops up once half is used: outstanding and buffered together never exceed the prefetch. Whether there is more
    /// than before.
    pub(crate) fn top_up(&mut self, buffered: usize) -> bool {
        let buffered = u32::try_from(buffered).unwrap_or(u32::MAX);
        let held = self.outstanding.saturating_add(buffered);
        let due = held <= self.prefetch / 2;
        if due {
            self.outstanding = self.prefetch - buffered;
        }
        due
    }

    pub(crate) fn delivery_count(&self) -> u32 {
        self.delivery_count
    }

    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outstanding_and_what_is_buffered_never_exceed_the_prefetch() {
        let mut credit = Credit::new(10);
        assert!(credit.top_up(0));
        assert_eq!(credit.outstanding(), 10);
        for _ in 0..10 {
            assert!(credit.use_one());
        }
        assert!(!credit.use_one(), "more than was granted");
        for buffered in (6..=10).rev() {
            assert!(!credit.top_up(buffered), "{buffered} are buffered");
        }
        assert!(credit.top_up(5));
        assert_eq!(credit.outstanding(), 5);
        assert!(!credit.top_up(5), "granted already");
    }

    #[test]
    fn the_delivery_count_begins_where_the_sender_says_and_wraps() {
        let mut credit = Credit::new(4);
        credit.begin(u32::MAX - 1);
        credit.top_up(0);
        for _ in 0..3 {
            credit.use_one();
        }
        assert_eq!((credit.delivery_count(), credit.outstanding()), (1, 1));
    }
}
