//! Encoding. Lists carry all their fields: the Python SDK reads them by position (contract §2.3).

/// The elements of a list, a map or an array that is being written.
#[derive(Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    count: u32,
}

impl Fields {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An element that is encoded already.
    #[must_use]
    pub fn raw(mut self, value: &[u8]) -> Self {
        self.bytes.extend_from_slice(value);
        self.count += 1;
        self
    }

    #[must_use]
    fn fixed(self, constructor: u8, value: &[u8]) -> Self {
        self.raw(&[&[constructor], value].concat())
    }

    #[must_use]
    fn variable(self, constructor: u8, value: &[u8]) -> Self {
        self.raw(&[&[constructor][..], &length(value.len()), value].concat())
    }

    /// `count` nulls.
    #[must_use]
    pub fn nulls(self, count: usize) -> Self {
        (0..count).fold(self, |fields, _| fields.raw(&[0x40]))
    }

    /// A truth value.
    #[must_use]
    pub fn boolean(self, value: bool) -> Self {
        self.raw(&[if value { 0x41 } else { 0x42 }])
    }

    /// Eight bits.
    #[must_use]
    pub fn ubyte(self, value: u8) -> Self {
        self.fixed(0x50, &[value])
    }

    /// Sixteen bits.
    #[must_use]
    pub fn ushort(self, value: u16) -> Self {
        self.fixed(0x60, &value.to_be_bytes())
    }

    /// Thirty-two bits, in the wide form, so that it can be patched.
    #[must_use]
    pub fn uint(self, value: u32) -> Self {
        self.fixed(0x70, &value.to_be_bytes())
    }

    /// Sixty-four bits.
    #[must_use]
    pub fn ulong(self, value: u64) -> Self {
        self.fixed(0x80, &value.to_be_bytes())
    }

    /// Thirty-two bits with a sign.
    #[must_use]
    pub fn int(self, value: i32) -> Self {
        self.fixed(0x71, &value.to_be_bytes())
    }

    /// Sixty-four bits with a sign, in the wide form, so that it can be patched.
    #[must_use]
    pub fn long(self, value: i64) -> Self {
        self.fixed(0x81, &value.to_be_bytes())
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn timestamp(self, millis: i64) -> Self {
        self.fixed(0x83, &millis.to_be_bytes())
    }

    /// Bytes.
    #[must_use]
    pub fn binary(self, value: &[u8]) -> Self {
        self.variable(0xb0, value)
    }

    /// Text.
    #[must_use]
    pub fn string(self, value: &str) -> Self {
        self.variable(0xb1, value.as_bytes())
    }

    /// A word of a closed set, in the narrow form that brokers use.
    ///
    /// # Panics
    /// If it is longer than 255 bytes.
    #[must_use]
    pub fn symbol(self, value: &str) -> Self {
        let length = u8::try_from(value.len()).expect("symbols are short");
        self.raw(&[&[0xa3, length], value.as_bytes()].concat())
    }

    /// The list of these elements.
    pub fn list(&self) -> Vec<u8> {
        self.compound(0xd0, &[])
    }

    /// The map of these keys and values in turn.
    pub fn map(&self) -> Vec<u8> {
        self.compound(0xd1, &[])
    }

    /// The elements alone; one element is a value.
    pub fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The array of these texts, as strings.
    pub fn strings<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
        Self::array(0xb1, texts)
    }

    /// The array of these texts, as symbols.
    pub fn symbols<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
        Self::array(0xb3, texts)
    }

    fn array<'a>(constructor: u8, texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
        let element = |text: &str| [&length(text.len()), text.as_bytes()].concat();
        let fields = texts.fold(Self::new(), |fields, text| fields.raw(&element(text)));
        fields.compound(0xf0, &[constructor])
    }

    fn compound(&self, constructor: u8, element: &[u8]) -> Vec<u8> {
        let body = [&self.count.to_be_bytes(), element, &self.bytes].concat();
        [&[constructor][..], &length(body.len()), &body].concat()
    }
}

/// A value under a descriptor: a performative, or a section of a message.
pub fn described(descriptor: u8, value: &[u8]) -> Vec<u8> {
    [&[0x00, 0x53, descriptor], value].concat()
}

/// A whole frame.
pub fn frame(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let [high, low] = channel.to_be_bytes();
    [&length(body.len() + 8)[..], &[2, kind, high, low], body].concat()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("the replayer encodes nothing of 4 GiB").to_be_bytes()
}
