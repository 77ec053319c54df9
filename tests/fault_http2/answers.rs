//! Answers that are odd or wrong: header lists and HPACK (2, 3), windows (7), the order of frames (14, 15), and what may be sent
//! again (12, 24).

use super::*;

/// A success whose header block has `more` behind `:status 200`.
fn headed(stream: u32, more: &[u8], end: bool) -> Vec<u8> {
    head(stream, &[&[0x88], more].concat(), end)
}

fn success(stream: u32) -> Vec<u8> {
    [ok(stream, false), data(stream, b"ok", true)].concat()
}

const BROKE: &str = "the peer broke HTTP/2";

// 2 and 3: header lists and HPACK.
answers! {
    h02_a_header_list_over_the_limit: |stream| continued(stream, &many(2_000, &literal("a", "bcdefghijklmnopq")), true), Kept, 11, "the answer is not valid HTTP";
    h02_a_header_list_far_over_the_limit: |stream| continued(stream, &many(20_000, &literal("a", "bcdefghijklmnopq")), true), Closed, 11, BROKE;
    h02_a_hundred_thousand_tiny_headers: |stream| continued(stream, &many(100_000, &literal("a", "")), true), Closed, 11, BROKE;
    h03_a_table_that_flaps: |stream| head(stream, &[[&[0x20][..], &integer(0x20, 5, 4_096)].concat().repeat(2_000), vec![0x88]].concat(), true), Kept, 0, "";
    h03_a_table_that_shrinks_and_grows_once: |stream| head(stream, &[&[0x20][..], &integer(0x20, 5, 4_096), &[0x88]].concat(), true), Kept, 0, "";
    h03_a_table_above_what_was_allowed: |stream| head(stream, &[&integer(0x20, 5, 1 << 20)[..], &[0x88]].concat(), true), Closed, 11, BROKE;
    h03_an_integer_that_overflows: |stream| head(stream, &[0x88, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], true), Closed, 11, BROKE;
    h03_an_index_of_zero: |stream| head(stream, &[0x88, 0x80], true), Closed, 11, BROKE;
    h03_an_index_that_is_not_there: |stream| head(stream, &[&[0x88][..], &integer(0x80, 7, 5_000)].concat(), true), Closed, 11, BROKE;
    h03_a_bomb_of_references: |stream| {
        // One entry of 3 KiB in the table, then 16,000 references of a byte each: 48 MiB if it were unpacked.
        let entry = [&[0x40, 1, b'a'][..], &integer(0, 7, 3_000), &[b'x'; 3_000]].concat();
        continued(stream, &[&[0x88][..], &entry, &[0xBE; 16_000]].concat(), true)
    }, Closed, 11, BROKE;
    h03_a_broken_huffman_code: |stream| head(stream, &[0x88, 0x00, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0x01, b'x'], true), Closed, 11, BROKE;
}

// 7: windows that may not be.
answers! {
    h07_a_connection_window_that_overflows: |_| window(0, 0x7FFF_FFFF), Closed, 11, BROKE;
    h07_a_window_that_overflows_of_a_request_that_was_sent: |stream| [window(stream, 0x7FFF_FFFF), success(stream)].concat(), Kept, 0, "";
    h07_a_connection_window_opened_by_nothing: |_| window(0, 0), Closed, 11, BROKE;
    h07_an_initial_window_above_what_can_be: |_| settings(&[(INITIAL_WINDOW_SIZE, 0x8000_0000)]), Closed, 11, BROKE;
}

// 14: answers that are odd, and answers that are wrong.
answers! {
    h14_an_interim_answer: |stream| [head(stream, &status(103), false), success(stream)].concat(), Kept, 0, "";
    h14_trailers: |stream| [ok(stream, false), data(stream, b"ok", false), head(stream, &literal("a", "b"), true)].concat(), Kept, 0, "";
    h14_trailers_that_do_not_end_the_stream: |stream| [ok(stream, false), data(stream, b"ok", false), head(stream, &literal("a", "b"), false)].concat(), Kept, 11, "";
    h14_a_final_answer_and_a_reset_without_error: |stream| [success(stream), reset(stream, NO_ERROR)].concat(), Kept, 0, "";
    h14_half_an_answer_and_a_reset_without_error: |stream| [ok(stream, false), reset(stream, NO_ERROR)].concat(), Kept, 11, "the peer reset the stream";
    h14_headers_after_the_end_of_the_stream: |stream| [success(stream), ok(stream, true)].concat(), Kept, 0, "";
    h14_data_after_the_end_of_the_stream: |stream| [success(stream), data(stream, b"more", false)].concat(), Kept, 0, "";
    h14_a_body_shorter_than_its_length: |stream| [headed(stream, &literal("content-length", "5"), false), data(stream, b"ok", true)].concat(), Kept, 11, "the answer is not valid HTTP";
    h14_a_body_longer_than_its_length: |stream| [headed(stream, &literal("content-length", "1"), false), data(stream, b"ok", true)].concat(), Kept, 11, "the answer is not valid HTTP";
    h14_a_length_and_no_body: |stream| headed(stream, &literal("content-length", "5"), true), Kept, 11, "the answer is not valid HTTP";
    h14_two_lengths_that_differ: |stream| [headed(stream, &[literal("content-length", "2"), literal("content-length", "3")].concat(), false), data(stream, b"ok", true)].concat(), Kept, 11, "the answer is not valid HTTP";
    h14_a_negative_length: |stream| [headed(stream, &literal("content-length", "-2"), false), data(stream, b"ok", true)].concat(), Kept, 11, "the answer is not valid HTTP";
    h14_no_status: |stream| head(stream, &literal("a", "b"), true), Kept, 11, "the answer is not valid HTTP";
    h14_switching_protocols: |stream| [head(stream, &status(101), false), success(stream)].concat(), Kept, 0, "";
}

// 15: frames that have no place here.
answers! {
    h15_a_push_although_push_is_off: |stream| frame(PUSH_PROMISE, END_HEADERS, stream, &[&2u32.to_be_bytes()[..], &[0x82, 0x86, 0x84]].concat()), Closed, 11, BROKE;
    h15_unknown_frames: |stream| [frame(0x42, 0xFF, stream, b"whatever"), frame(0xEE, 0, 0, &[0; 16_384]), success(stream)].concat(), Kept, 0, "";
    h15_unknown_settings: |stream| [settings(&[(0x42, 1), (0xFFFF, u32::MAX)]), success(stream)].concat(), Kept, 0, "";
    h15_a_frame_above_the_size_that_was_allowed: |stream| [ok(stream, false), data(stream, &[b'x'; 16_385], true)].concat(), Closed, 11, BROKE;
    h15_a_stream_of_the_servers_own: |_| ok(2, true), Closed, 11, BROKE;
    h15_a_stream_that_was_never_opened: |_| ok(999, true), Closed, 11, BROKE;
    h15_data_on_stream_0: |_| data(0, b"x", false), Closed, 11, BROKE;
    h15_settings_of_an_odd_length: |_| frame(SETTINGS, 0, 0, &[0; 5]), Closed, 11, BROKE;
    h15_padding_longer_than_its_frame: |stream| [ok(stream, false), frame(DATA, PADDED, stream, &[200, 1, 2])].concat(), Closed, 11, BROKE;
    h15_a_continuation_of_nothing: |stream| frame(CONTINUATION, END_HEADERS, stream, &[0x88]), Closed, 11, BROKE;
}

// 12 and 24.
answers! {
    h12_a_cancelled_stream_may_have_been_processed: |stream| reset(stream, CANCEL), Kept, 11, "the peer reset the stream";
    h12_an_internal_error_may_have_been_processed: |stream| reset(stream, INTERNAL_ERROR), Kept, 11, "the peer reset the stream";
    h24_redirects_are_never_followed: |stream| head(stream, &[status(307), literal("location", "http://127.0.0.1:1/")].concat(), true), Kept, 11, "status 307";
}
