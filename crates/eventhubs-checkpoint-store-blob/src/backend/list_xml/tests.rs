//! Pages as Azure writes them, and pages that it never should.

use proptest::prelude::*;
use quick_xml::escape::escape;

use super::*;

fn page(blobs: &str) -> Result<Page> {
    read_page(
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"http://h/\" \
             ContainerName=\"c\"><Prefix>p</Prefix><Blobs>{blobs}</Blobs><NextMarker /></EnumerationResults>"
        )
        .as_bytes(),
    )
}

fn blob(name: &str, metadata: &str) -> String {
    format!(
        "<Blob><Name>{name}</Name><Properties><Creation-Time>x</Creation-Time>\
         <Last-Modified>Sun, 06 Nov 1994 08:49:37 GMT</Last-Modified><Etag>0x8D1</Etag>\
         <AccessTier>Premium</AccessTier></Properties>{metadata}</Blob>"
    )
}

fn only(page: Result<Page>) -> Blob {
    let mut blobs = page.unwrap().blobs;
    assert_eq!(blobs.len(), 1);
    blobs.remove(0)
}

#[test]
fn a_blob_is_read_whatever_tier_it_is_in() {
    let blob = only(page(&blob("a/ownership/0", "<Metadata><ownerid>me</ownerid></Metadata><OrMetadata />")));
    assert_eq!(blob.name, "a/ownership/0");
    assert_eq!(blob.metadata.get("ownerid"), Some("me"));
    assert_eq!(blob.stamp.version.as_str(), "0x8D1");
    assert_eq!(blob.stamp.modified, httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").ok());
}

#[test]
fn metadata_may_be_empty_missing_or_in_another_case() {
    // docs/contract.md §13.9
    for (xml, owner) in [
        ("<Metadata><ownerid /></Metadata>", Some("")),
        ("<Metadata><ownerid></ownerid></Metadata>", Some("")),
        ("<Metadata />", None),
        ("", None),
        ("<Metadata Encrypted=\"true\" />", None),
        ("<Metadata><Ownerid>A</Ownerid></Metadata>", Some("A")),
    ] {
        assert_eq!(only(page(&blob("n", xml))).metadata.get("ownerid"), owner, "{xml}");
    }
}

#[test]
fn an_etag_loses_its_quotes() {
    let quoted = blob("n", "").replace("0x8D1", "&quot;0x8D1&#34;");
    assert_eq!(only(page(&quoted)).stamp.version.as_str(), "0x8D1");
}

#[test]
fn one_bad_blob_does_not_fail_the_page() {
    let long = format!("<Metadata><ownerid>{}</ownerid></Metadata>", "x".repeat(MAX_METADATA));
    let no_etag = "<Blob><Name>bare</Name></Blob>";
    let page = page(&[&blob("good", ""), no_etag, &blob("long", &long)].concat()).unwrap();
    assert_eq!(page.blobs.len(), 1);
    let rejected: Vec<_> = page.rejected.iter().map(|record| (&*record.name, &*record.reason)).collect();
    assert_eq!(rejected, [("bare", "it has no etag"), ("long", "its metadata is too long")]);
}

#[test]
fn directories_are_left_out() {
    let directory =
        blob("d", "").replace("</Properties>", "<ResourceType>directory</ResourceType></Properties>");
    let flagged = blob("e", "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>");
    let page = page(&[directory, flagged].concat()).unwrap();
    assert!(page.blobs.is_empty() && page.rejected.is_empty(), "{page:?}");
}

#[test]
fn a_name_that_xml_cannot_carry_is_decoded() {
    let encoded = blob("", "").replace("<Name>", "<Name Encoded=\"true\">a%2Fownership%2F%01");
    assert_eq!(only(page(&encoded)).name, "a/ownership/\u{1}");
}

#[test]
fn the_marker_of_the_next_page_is_read() {
    let text = "<EnumerationResults><Blobs/><NextMarker>2!&amp;x</NextMarker></EnumerationResults>";
    assert_eq!(read_page(text.as_bytes()).unwrap().next.as_deref(), Some("2!&x"));
}

#[test]
fn what_is_no_listing_is_malformed() {
    for text in [
        "",
        "not xml",
        "<html/>",
        "<EnumerationResults>",
        "<EnumerationResults><Blobs></EnumerationResults>",
        "<!DOCTYPE x [<!ENTITY a \"b\">]><EnumerationResults/>",
        "<EnumerationResults><NextMarker>&a;</NextMarker></EnumerationResults>",
        "<EnumerationResults><NextMarker><x/></NextMarker></EnumerationResults>",
    ] {
        assert_eq!(read_page(text.as_bytes()).unwrap_err(), Malformed, "{text}");
    }
    assert_eq!(read_page(b"<EnumerationResults>\xff").unwrap_err(), Malformed);
}

#[test]
fn deep_nesting_is_skipped_without_recursion() {
    let deep = format!("{}{}", "<x>".repeat(100_000), "</x>".repeat(100_000));
    assert!(page(&deep).unwrap().blobs.is_empty());
}

proptest! {
    #[test]
    fn any_text_goes_through_unchanged(name in "[^\u{0}-\u{1f}]{1,40}", value in "[^\u{0}-\u{1f}]{0,40}") {
        let metadata = format!("<Metadata><ownerid>{}</ownerid></Metadata>", escape(&value));
        let blob = only(page(&blob(&escape(&name), &metadata)));
        prop_assert_eq!(blob.name, name);
        prop_assert_eq!(blob.metadata.get("ownerid"), Some(value.trim()));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_page(&bytes);
    }

    #[test]
    fn no_markup_panics(text in "[<>/&;a-c \"=!#x1?\\[\\]-]{0,80}") {
        let _ = page(&text);
    }
}
