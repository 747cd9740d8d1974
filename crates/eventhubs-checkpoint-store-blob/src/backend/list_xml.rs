//! Reads one page of a listing.
//!
//! The SDK's own reader fails for a whole page over one value it does not know, and is an XML parser with
//! open advisories. This one takes what it needs and skips the rest; it knows no DTD and no entities but
//! XML's own five.

use eventhubs_checkpoint_store::{RejectedRecord, Version};
use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::{Blob, Page, Stamp};
use crate::records::Metadata;

/// The most metadata that one blob may have, in bytes; the service has the same limit.
const MAX_METADATA: usize = 8 * 1024;

/// The page is no XML, or not the XML of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl<T: Into<quick_xml::Error>> From<T> for Malformed {
    fn from(_: T) -> Self {
        // The error of the parser may repeat what it read.
        Self
    }
}

type Result<T> = std::result::Result<T, Malformed>;

/// Reads the body of a listing; directories of hierarchical accounts are left out.
pub(super) fn read_page(body: &[u8]) -> Result<Page> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed)?;
    let mut parser = Parser::new(text.trim_start_matches('\u{feff}'));
    let mut page = Page::default();
    match parser.next_child()? {
        Some(root) if root.name == "EnumerationResults" => (),
        _ => return Err(Malformed),
    }
    while let Some(child) = parser.next_child()? {
        match child.name.as_str() {
            "Blobs" => parser.blobs(&mut page)?,
            "NextMarker" => page.next = Some(parser.text()?).filter(|marker| !marker.is_empty()),
            _ => parser.skip()?,
        }
    }
    Ok(page)
}

/// Walks through elements one by one, without recursion, so that nesting costs no stack.
struct Parser<'a> {
    reader: Reader<&'a [u8]>,
}

/// The start of an element.
struct Child {
    name: String,
    /// The text of this element is percent-encoded, for XML cannot carry it.
    encoded: bool,
}

/// What of a blob's properties matters here.
#[derive(Default)]
struct Properties {
    etag: Option<String>,
    modified: Option<String>,
    is_directory: bool,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader }
    }

    /// Enters the next element; `None` leaves the one that it would have been in.
    fn next_child(&mut self) -> Result<Option<Child>> {
        loop {
            match self.reader.read_event()? {
                Event::Start(start) => return Child::read(&start).map(Some),
                Event::End(_) => return Ok(None),
                Event::DocType(_) | Event::Eof => return Err(Malformed),
                _ => (),
            }
        }
    }

    /// Leaves the element just entered.
    fn skip(&mut self) -> Result<()> {
        let mut depth = 1_usize;
        while depth > 0 {
            depth = if self.next_child()?.is_some() { depth + 1 } else { depth - 1 };
        }
        Ok(())
    }

    /// The text of the element just entered, which has no children.
    fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            match self.reader.read_event()? {
                Event::Text(part) => text.push_str(&part.decode()?),
                Event::CData(part) => text.push_str(&part.decode()?),
                Event::GeneralRef(reference) => resolve(&reference, &mut text)?,
                Event::End(_) => return Ok(text),
                Event::Start(_) | Event::DocType(_) | Event::Eof => return Err(Malformed),
                _ => (),
            }
        }
    }

    fn blobs(&mut self, page: &mut Page) -> Result<()> {
        while let Some(child) = self.next_child()? {
            match child.name.as_str() {
                "Blob" => match self.blob()? {
                    Some(Ok(blob)) => page.blobs.push(blob),
                    Some(Err(rejected)) => page.rejected.push(rejected),
                    None => (),
                },
                "BlobPrefix" => page.folders.extend(self.folder()?),
                _ => self.skip()?,
            }
        }
        Ok(())
    }

    /// The name of a folder, with its last slash.
    fn folder(&mut self) -> Result<Option<String>> {
        let mut name = None;
        while let Some(child) = self.next_child()? {
            match child.name.as_str() {
                "Name" => name = Some(child.decode(self.text()?)?),
                _ => self.skip()?,
            }
        }
        Ok(name)
    }

    /// One blob; `None` for a directory.
    fn blob(&mut self) -> Result<Option<std::result::Result<Blob, RejectedRecord>>> {
        let (mut name, mut properties) = (String::new(), Properties::default());
        let mut metadata = Some(Metadata::default());
        while let Some(child) = self.next_child()? {
            match child.name.as_str() {
                "Name" => name = child.decode(self.text()?)?,
                "Properties" => properties = self.properties()?,
                "Metadata" => metadata = self.metadata()?,
                _ => self.skip()?,
            }
        }
        let flagged = metadata.as_ref().and_then(|metadata| metadata.get("hdi_isfolder"));
        if properties.is_directory || flagged == Some("true") {
            return Ok(None);
        }
        Ok(Some(properties.into_blob(name, metadata)))
    }

    fn properties(&mut self) -> Result<Properties> {
        let mut properties = Properties::default();
        while let Some(child) = self.next_child()? {
            match child.name.as_str() {
                "Etag" => properties.etag = Some(self.text()?),
                "Last-Modified" => properties.modified = Some(self.text()?),
                "ResourceType" => properties.is_directory = self.text()? == "directory",
                _ => self.skip()?,
            }
        }
        Ok(properties)
    }

    /// `None` if it is too long.
    fn metadata(&mut self) -> Result<Option<Metadata>> {
        let (mut pairs, mut length) = (Vec::new(), 0);
        while let Some(child) = self.next_child()? {
            let value = self.text()?;
            length += child.name.len() + value.len();
            if length <= MAX_METADATA {
                pairs.push((child.name, value));
            }
        }
        Ok((length <= MAX_METADATA).then(|| pairs.into_iter().collect()))
    }
}

impl Child {
    fn read(start: &BytesStart<'_>) -> Result<Self> {
        let name = std::str::from_utf8(start.name().into_inner()).map_err(|_| Malformed)?.to_owned();
        let encoded = start.try_get_attribute("Encoded")?;
        Ok(Self { name, encoded: encoded.is_some_and(|attribute| attribute.value.as_ref() == b"true") })
    }

    /// The text of this element as it was meant.
    fn decode(&self, text: String) -> Result<String> {
        if !self.encoded {
            return Ok(text);
        }
        let decoded = percent_decode_str(&text).decode_utf8().map_err(|_| Malformed)?;
        Ok(decoded.into_owned())
    }
}

impl Properties {
    fn into_blob(
        self,
        name: String,
        metadata: Option<Metadata>,
    ) -> std::result::Result<Blob, RejectedRecord> {
        let etag =
            self.etag.as_deref().map(|etag| etag.trim().trim_matches('"')).filter(|etag| !etag.is_empty());
        let (Some(etag), Some(metadata)) = (etag, metadata) else {
            let reason = if etag.is_none() { "it has no etag" } else { "its metadata is too long" };
            return Err(RejectedRecord::new(name, reason));
        };
        let modified = self.modified.and_then(|date| httpdate::parse_http_date(date.trim()).ok());
        let stamp = Stamp { version: Version::new(etag), modified, is_versioned: false };
        Ok(Blob { name, metadata, stamp })
    }
}

fn resolve(reference: &BytesRef<'_>, text: &mut String) -> Result<()> {
    match reference.resolve_char_ref()? {
        Some(character) => text.push(character),
        None => text.push_str(resolve_xml_entity(&reference.decode()?).ok_or(Malformed)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
