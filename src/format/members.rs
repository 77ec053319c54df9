//! Members of the objects being written, so that no object ends up with two of the same name.
//!
//! In JSON members are written with a comma behind each; [`finish`] turns the last one into the closing bracket. So a
//! member can be taken out without looking at its neighbours, as it can in MessagePack, where nothing stands between
//! members. Names are compared as written: two names whose text is equal are the same name to a reader, whatever they
//! were before. Work is n log n at worst, whatever the names.

/// Where a member begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// Of whoever keeps the members; the hash of its name while those with equal names are looked for.
    pub(super) tag: u32,
    /// Offset in the buffer, from the start of the record.
    pub(super) start: u32,
}

/// Scratch above this many members is given back after the record.
const KEEP_MEMBERS: usize = 64 << 10;

/// A stack of the members of all open objects.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Where the record begins in the buffer.
    base: usize,
    list: Vec<Member>,
}

impl Members {
    /// Begins a record, which is written from the end of `out` on.
    #[inline]
    pub(super) fn begin(&mut self, out: &[u8]) {
        self.base = out.len();
        self.list.clear();
        if self.list.capacity() > KEEP_MEMBERS {
            self.list = Vec::new();
        }
    }

    /// Bytes of the record so far, and of what is kept for it here.
    #[inline]
    pub(super) fn held(&self, out: &[u8]) -> usize {
        out.len().saturating_sub(self.base) + self.list.len() * size_of::<Member>()
    }

    /// What [`Members::finish_object`] wants to know of an object that begins now.
    #[inline]
    pub(super) fn mark(&self) -> usize {
        self.list.len()
    }

    /// Notes that a member begins at `start` of the buffer.
    #[inline]
    pub(super) fn add(&mut self, start: usize) {
        self.list.push(Member { tag: 0, start: (start - self.base) as u32 });
    }

    /// Ends an object whose names are known to differ.
    #[inline]
    pub(super) fn drop_object(&mut self, mark: usize) {
        self.list.truncate(mark);
    }

    /// Ends an object: of members with the same name all but the last are taken out of `out`. The name of a member
    /// begins (with its quote) `name_at` bytes after the member. Returns how many were taken out.
    pub(super) fn finish_object(&mut self, out: &mut Vec<u8>, mark: usize, name_at: usize) -> u64 {
        self.finish_members(out, mark, |member| json_name(member.get(name_at + 1..).unwrap_or_default()))
    }

    /// As [`Members::finish_object`], in any format; `name` finds the name at the beginning of what it is given, which
    /// begins with a member.
    pub(super) fn finish_members(&mut self, out: &mut Vec<u8>, mark: usize, name: impl Fn(&[u8]) -> &[u8]) -> u64 {
        let removed = remove_repeated(out, self.base, self.list.get_mut(mark..).unwrap_or_default(), name);
        self.list.truncate(mark);
        removed
    }
}

/// Takes all members but the last of each name out of `out`, in which the record begins at `base`. Of what is left of
/// `members` nothing can be said. Returns how many were taken out.
pub(super) fn remove_repeated(
    out: &mut Vec<u8>,
    base: usize,
    members: &mut [Member],
    name: impl Fn(&[u8]) -> &[u8],
) -> u64 {
    let name_of = |member: &Member| name(out.get(base + member.start as usize..).unwrap_or_default());
    let removed = if members.len() < 2 { 0 } else { mark_repeated(members, name_of) };
    if removed > 0 {
        members.sort_unstable_by_key(|member| member.start);
        compact(out, base, members);
    }
    removed
}

/// Sets each member's tag to 1 if a later one has the same name, else to 0. Returns how many have 1.
fn mark_repeated<'a>(members: &mut [Member], name_of: impl Fn(&Member) -> &'a [u8]) -> u64 {
    for member in members.iter_mut() {
        member.tag = hash(name_of(member));
    }
    members.sort_unstable_by(|a, b| {
        let by_name = || name_of(a).cmp(name_of(b));
        a.tag.cmp(&b.tag).then_with(by_name).then(a.start.cmp(&b.start))
    });
    let mut removed = 0;
    let mut rest = members;
    while let Some((first, after)) = rest.split_first_mut() {
        let repeated = after.first().is_some_and(|next| next.tag == first.tag && name_of(next) == name_of(first));
        first.tag = u32::from(repeated);
        removed += u64::from(repeated);
        rest = after;
    }
    removed
}

/// Moves the members with tag 0 together, in one pass.
fn compact(out: &mut Vec<u8>, base: usize, members: &[Member]) {
    let Some(first) = members.first() else { return };
    let mut to = base + first.start as usize;
    for (index, member) in members.iter().enumerate() {
        if member.tag == 0 {
            let from = base + member.start as usize;
            let end = members.get(index + 1).map_or(out.len(), |next| base + next.start as usize);
            out.copy_within(from..end, to);
            to += end - from;
        }
    }
    out.truncate(to);
}

/// The name as written, up to the quote that ends it.
fn json_name(text: &[u8]) -> &[u8] {
    let mut length = 0;
    loop {
        match text.get(length) {
            Some(b'\\') => length += 2,
            Some(b'"') | None => return text.get(..length).unwrap_or(text),
            Some(_) => length += 1,
        }
    }
}

/// Well spread enough for names; equal hashes are followed by a comparison of the names.
#[inline]
pub(super) fn hash(name: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut state = name.len() as u64;
    let mut rest = name;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR).rotate_left(29);
        rest = after;
    }
    let tail = rest.iter().fold(0u64, |tail, byte| tail << 8 | u64::from(*byte));
    ((state ^ tail).wrapping_mul(FACTOR) >> 32) as u32
}

/// Closes an object or list with `bracket`: it takes the place of the last comma, if there is one.
#[inline]
pub(super) fn finish(out: &mut Vec<u8>, bracket: u8) {
    match out.last_mut() {
        Some(last) if *last == b',' => *last = bracket,
        _ => out.push(bracket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(names: &[&str]) -> (String, u64) {
        let mut out = b"before{".to_vec();
        let mut members = Members::default();
        members.begin(b"befo");
        for (value, name) in names.iter().enumerate() {
            members.add(out.len());
            out.extend_from_slice(format!("\"{name}\":{value},").as_bytes());
        }
        let removed = members.finish_object(&mut out, 0, 0);
        finish(&mut out, b'}');
        (String::from_utf8(out).unwrap(), removed)
    }

    #[test]
    fn the_last_of_equal_names_stays() {
        assert_eq!(object(&[]), ("before{}".into(), 0));
        assert_eq!(object(&["a", "b"]), ("before{\"a\":0,\"b\":1}".into(), 0));
        assert_eq!(object(&["a", "b", "a", "c", "a", "c"]), ("before{\"b\":1,\"a\":4,\"c\":5}".into(), 3));
        assert_eq!(object(&["a", "a"]), ("before{\"a\":1}".into(), 1));
        assert_eq!(object(&["a\\\"b", "a", "a\\\"b"]), ("before{\"a\":1,\"a\\\"b\":2}".into(), 1));
    }

    #[test]
    fn many_equal_and_many_different_names_are_quick() {
        let names: Vec<String> = (0..200_000).map(|at| (at % 100_000).to_string()).collect();
        let (text, removed) = object(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(removed, 100_000);
        assert!(text.starts_with("before{\"0\":100000,\"1\":100001,"));
        assert_eq!(object(&vec!["k"; 200_000]), ("before{\"k\":199999}".into(), 199_999));
    }
}
