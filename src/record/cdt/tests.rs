use super::*;

fn tokens(bytes: &[u8]) -> Result<Vec<Token<'_>>, Fault> {
    let mut reader = Reader::new(bytes);
    let mut tokens = Vec::new();
    while !reader.is_empty() {
        tokens.push(read_token(&mut reader)?);
    }
    Ok(tokens)
}

fn walked(bytes: &[u8], max_depth: u32) -> Result<(), Fault> {
    let list = root_list(Reader::new(bytes))?;
    walk(&list, false, max_depth, &mut Vec::new()).map_err(|(fault, _)| fault)
}

#[test]
fn the_examples_of_the_wire_page_are_read() {
    use Order::{KeyValueOrdered, Ordered, Unordered};
    use Token::{Int, List, Map};
    let cases: [(&[u8], Vec<Token<'_>>); 6] = [
        (&[0x94, 0xc7, 0, 1, 1, 2, 3], vec![List { count: 3, order: Ordered }, Int(1), Int(2), Int(3)]),
        (
            &[0x83, 0xc7, 0, 1, 0xc0, 1, 0x0a, 2, 0x14],
            vec![Map { count: 2, order: Ordered }, Int(1), Int(10), Int(2), Int(20)],
        ),
        (&[0x91, 0xc7, 0, 1], vec![List { count: 0, order: Ordered }]),
        (&[0x81, 0xc7, 0, 3, 0xc0], vec![Map { count: 0, order: KeyValueOrdered }]),
        (&[0x90], vec![List { count: 0, order: Unordered }]),
        (&[0x80], vec![Map { count: 0, order: Unordered }]),
    ];
    for (bytes, expected) in cases {
        assert_eq!(tokens(bytes).unwrap(), expected, "{bytes:02x?}");
    }
}

#[test]
fn every_form_of_extension_in_first_place_is_skipped() {
    for extension in [
        &[0xd4, 1, 9][..],
        &[0xd5, 1, 9, 9],
        &[0xd6, 1, 9, 9, 9, 9],
        &[0xc7, 2, 1, 9, 9],
        &[0xc8, 0, 1, 1, 9],
        &[0xc9, 0, 0, 0, 1, 1, 9],
    ] {
        let bytes = [&[0x92], extension, &[5]].concat();
        assert_eq!(tokens(&bytes).unwrap(), [Token::List { count: 1, order: Order::Ordered }, Token::Int(5)]);
    }
}

#[test]
fn extensions_elsewhere_are_refused() {
    assert_eq!(tokens(&[0x92, 1, 0xc7, 0, 1]), Err(Fault::CdtExtension(1)));
    assert_eq!(tokens(&[0x91, 0xd4, 0xff, 0]), Err(Fault::CdtExtension(0xff)));
    assert_eq!(tokens(&[0x81, 0xc7, 0, 1, 0x90]), Err(Fault::CdtExtension(0)));
    assert_eq!(tokens(&[0xc7, 9]), Err(Fault::CdtTruncated));
}

#[test]
fn depth_is_counted_and_the_stack_is_not_used_for_it() {
    let nested = |depth: usize| [&vec![0x91; depth - 1][..], &[0x90]].concat();
    assert_eq!(walked(&nested(256), 256), Ok(()));
    assert_eq!(walked(&nested(257), 256), Err(Fault::TooDeep(256)));
    assert_eq!(walked(&nested(200_000), 256), Err(Fault::TooDeep(256)));
    assert_eq!(walked(&nested(200_000), u32::MAX), Ok(()));
    assert_eq!(skip_value(&mut Reader::new(&nested(200_000))), Ok(()));
    assert_eq!(skip_value(&mut Reader::new(&[0x81; 200_000])), Err(Fault::CdtTruncated));
}

#[test]
fn counts_that_lie_run_into_the_end() {
    assert_eq!(walked(&[0xdd, 255, 255, 255, 255], 9), Err(Fault::CdtTruncated));
    assert_eq!(walked(&[0x91, 0xdf, 255, 255, 255, 255], 9), Err(Fault::CdtTruncated));
    assert_eq!(walked(&[0x91, 0xdb, 255, 255, 255, 255], 9), Err(Fault::CdtTruncated));
    assert_eq!(walked(&[0x91, 1, 2], 9), Err(Fault::CdtSurplus(1)));
    assert_eq!(walked(&[0x91, 0xc1], 9), Err(Fault::CdtReserved(0xc1)));
    assert_eq!(walked(&[0x05], 9), Err(Fault::CdtRoot { expected: "list", found: 5 }));
    assert_eq!(walked(&[], 9), Err(Fault::CdtTruncated));
}
