import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/** Writes what Java makes of names, as JSON lines; see README.md. Arguments "random SEED COUNT" make up patterns. */
class ReplaceAll {
    static final String[] NAMES = {
        "", "a", "abc", "ABC", "aBcDeF", "user_name", "camelCaseBin", "x-1.2", "  pad ", "tab\there", "a1b22c333",
        "aaabbb", "foo.bar.baz", "k=v;k2=v2", "straße", "ÉCOLE-é", "naïve_Ω", "日本語", "a\nb\r\n", "line\n",
        "$cost\\{1}", "(a)[b]{c}", "aa:aa", "abab", "ΑΣ", "x\u00a0y\u2003z", "_9_", "ſK",
    };

    /** One pattern and its replacements. */
    static final String[][] CASES = {
        {"a", "x", "", "$0$0", "\\$", "\\\\", "[$0]"},
        {"a*", "-", "<$0>"}, {".*", "x", "<$0>"}, {".+", "x"}, {"", "-"}, {"(?:)", "-"}, {"b|", "-"},
        {"([a-z])([A-Z])", "$1_$2", "$2$1", "$10", "$12", "\\$1", "${x}", "$3", "$"}, {"(.)(.)(.)", "$3$2$1", "$11", "$4"},
        {"(?<first>\\w+)_(?<rest>\\w+)", "${rest}-${first}", "${first}1", "$1$2", "${no}", "${first", "${1}", "${}", "$first"},
        {"^user_", ""}, {"_name$", "!"}, {"^", "pre_"}, {"$", "_post"}, {"(?m)^", ">"}, {"(?m)$", "<"}, {"\\A.", "!"},
        {".\\z", "!"}, {".\\Z", "!"}, {"\\Z", "!"}, {"(?d)$", "<"}, {"(?dm)^", ">"}, {"(?dm)$", "<"}, {"(?d).", "."},
        {".", "."}, {"(?s).", "."}, {"(?s:.)b|.", "<$0>"},
        {"\\d+", "#"}, {"\\D+", "#"}, {"\\w+", "w"}, {"\\W", "_"}, {"\\s+", "_"}, {"\\S+", "s"}, {"\\h", "h"}, {"\\H", "h"},
        {"\\v", "v"}, {"\\V", "v"}, {"\\R", "r"}, {"\\b", "|"}, {"\\B", "'"}, {"\\b\\w", "<$0>"}, {"[\\d\\s]", "?"},
        {"[^\\w\\s]", "?"}, {"[\\D&&\\w]", "?"}, {"[\\h\\v]", "?"},
        {"\\Q.\\E", "/"}, {"\\Qa.b", "/"}, {"\\Q[x]\\E+", "/"}, {"[\\Q^.]\\E]", "/"}, {"\\Q\\E", "/"}, {"\\x4\\Q1\\E", "/"},
        {"\\p{Lower}", "l"}, {"\\p{Upper}", "u"}, {"\\P{Upper}", "n"}, {"\\p{ASCII}", "a"}, {"\\p{Alpha}", "a"},
        {"\\p{Digit}", "d"}, {"\\p{Alnum}", "n"}, {"\\p{Punct}", "p"}, {"\\p{Graph}", "g"}, {"\\p{Print}", "p"},
        {"\\p{Blank}", "b"}, {"\\p{Cntrl}", "c"}, {"\\p{XDigit}", "x"}, {"\\p{Space}", "s"}, {"\\p{L}", "l"}, {"\\pL", "l"},
        {"\\p{Lu}", "u"}, {"\\P{L}+", "n"}, {"\\p{IsAlphabetic}", "a"}, {"\\p{javaLowerCase}", "l"}, {"\\p{IsLatin}", "l"},
        {"\\p{script=Greek}", "g"}, {"\\p{sc=Han}", "h"}, {"\\p{gc=Lu}", "u"}, {"\\p{general_category=Nd}", "d"},
        {"\\p{IsLu}", "u"}, {"\\p{isLatin}", "l"}, {"\\p{alpha}", "a"}, {"\\p{Foo}", "f"}, {"\\p{L", "l"}, {"\\p{}", "l"},
        {"\\p{javaLetterOrDigit}", "x"}, {"\\p{javaUpperCase}", "x"}, {"\\p{javaWhitespace}", "x"}, {"\\p{javaSpaceChar}", "x"},
        {"\\p{IsUppercase}", "x"}, {"\\p{IsWhite_Space}", "x"}, {"\\p{IsPunctuation}", "x"}, {"\\p{IsDigit}", "x"},
        {"\\p{IsHex_Digit}", "x"}, {"\\p{L1}", "x"}, {"\\p{LD}", "x"}, {"\\p{all}", "x"}, {"\\p{IsAssigned}", "x"},
        {"\\p{C}", "x"}, {"\\p{P}", "x"}, {"\\p{S}", "x"}, {"\\p{Z}", "x"}, {"\\p{M}", "x"}, {"\\p{javaJavaIdentifierPart}", "x"},
        {"[\\p{Lower}\\p{Digit}]", "x"}, {"[^\\p{L}\\P{ASCII}]", "x"}, {"[\\p{L}&&[^a-c]]", "x"}, {"[\\P{L}\\P{N}]", "x"},
        {"(?i)\\p{Lower}", "x"}, {"(?i)\\p{Lu}", "x"}, {"(?i)\\p{javaUpperCase}", "x"}, {"(?i)\\p{IsLowercase}", "x"},
        {"[a-c[x-z]]", "?"}, {"[a-z&&[def]]", "?"}, {"[a-z&&[^aeiou]]", "?"}, {"[a-z&&def]", "?"}, {"[^a-c&&b-d]", "?"},
        {"[a-f&&b-e&&[c-z]]", "?"}, {"[^a[b]]", "?"}, {"[a[^b]]", "?"}, {"[^^]", "?"}, {"[]a]", "?"}, {"[^]a]", "?"},
        {"[a-]", "?"}, {"[-a]", "?"}, {"[a\\-c]", "?"}, {"[a-c-e]", "?"}, {"[\\w-z]", "?"}, {"[a-\\d]", "?"}, {"[c-a]", "?"},
        {"[\\]\\[]", "?"}, {"[", "?"}, {"[]", "?"}, {"[a", "?"}, {"[a&b]", "?"}, {"[.$*+]", "?"}, {"[\\x41-\\x43]", "?"},
        {"[\\u0041-C]", "?"}, {"[\\t\\n\\r ]", "?"}, {"[\\b]", "?"}, {"[\\v-z]", "?"}, {"]", "?"}, {"}", "?"}, {"[{}]", "?"},
        {"[a-z&&[def]g]", "?"}, {"[a&&]", "?"},
        {"a+?", "<$0>"}, {"a??", "<$0>"}, {"a*?", "<$0>"}, {"a{2}", "<$0>"}, {"a{2,}", "<$0>"}, {"a{1,2}", "<$0>"},
        {"a{1,2}?", "<$0>"}, {"a{0}", "-"}, {"a++b", "<$0>"}, {"a*+a", "<$0>"}, {"a?+a", "<$0>"}, {"a{1,2}+a", "<$0>"},
        {".*+", "<$0>"}, {"(?>a|ab)b", "<$0>"}, {"a{", "x"}, {"a{x}", "x"}, {"a{,2}", "x"}, {"a{2", "x"}, {"a{3,2}", "x"},
        {"a{2}{3}", "<$0>"}, {"{2}", "-"}, {"a**", "x"}, {"*a", "x"}, {"+", "x"}, {"?", "x"}, {"^*", "-"}, {"$?", "-"},
        {"(?=a)*", "-"}, {"\\b+", "-"}, {"a{99999999999}", "x"}, {"(ab){2}", "<$1>"}, {"(?:ab)+", "<$0>"}, {"(a|b)+", "<$1>"},
        {"(a*)*", "<$1>"}, {"(a*)+", "<$1>"}, {"(a|b*)*", "<$1>"}, {"(?:(a)|b)*", "<$1>"}, {"(a)|(b)|(c)", "$1-$2-$3"},
        {"(a)?b", "<$1>"}, {"((a)(b))", "$3$2$1"},
        {"(a)\\1", "<$0>"}, {"(.)\\1+", "$1"}, {"(a)\\11", "x"}, {"(a)\\2", "x"}, {"\\1(a)", "x"}, {"\\2(a)(b)", "x"},
        {"(?<q>.)\\k<q>", "<${q}>"}, {"\\k<q>(?<q>a)", "x"}, {"(?<q>a)(?<q>b)", "x"}, {"(?<q_r>a)", "x"}, {"(?<1>a)", "x"},
        {"(?<q>a", "x"}, {"(?<>a)", "x"}, {"\\k", "x"}, {"(?i)(a)\\1", "<$0>"}, {"(?i)(.)b\\1", "<$0>"},
        {"(?i)abc", "<$0>"}, {"(?i)é", "<$0>"}, {"(?iu)é", "<$0>"}, {"(?iu)ω", "<$0>"}, {"(?i)[a-c]", "<$0>"},
        {"(?i)[^a-c]", "<$0>"}, {"(?iu)[à-ï]", "<$0>"}, {"(?i:a)b", "<$0>"}, {"a(?i)b|c", "<$0>"}, {"(a(?i)b)c", "<$0>"},
        {"(?i)a(?-i)b", "<$0>"}, {"(?-i:A)", "<$0>"}, {"(?i)k", "<$0>"}, {"(?iu)k", "<$0>"}, {"(?iu)s", "<$0>"},
        {"(?i)[x-z_0-\\]]", "<$0>"}, {"(?x) a b # c", "<$0>"}, {"(?x)a\\ b", "<$0>"}, {"(?x)[a b]", "<$0>"},
        {"(?x)a {2}", "<$0>"}, {"(?x)( ?: a ) +", "<$0>"}, {"(?x)# only\na", "<$0>"}, {"(?x)\\Q a\\E", "<$0>"},
        {"(?z)a", "x"}, {"(?i", "x"}, {"(?", "x"}, {"(", "x"}, {")", "x"}, {"(a", "x"}, {"a)", "x"}, {"()", "-"},
        {"(?=b)", "|"}, {"(?<=a)b", "<$0>"}, {"(?<!a)b", "<$0>"}, {"a(?!b)", "<$0>"}, {"(?<=a{1,3})b", "<$0>"},
        {"(?<=a|ab)b", "<$0>"}, {"(?<=[A-Z])(?=[a-z])|(?<=[a-z])(?=[A-Z])", "_"}, {"(?<=(a))b", "<$1>"},
        {"(?<=^|_)[a-z]", "<$0>"}, {"(?<=(ab)+)c", "x"}, {"(?=(a+))a", "<$1>"}, {"(?<=\\bfoo\\.)b", "<$0>"},
        {"\\t", "T"}, {"\\n", "N"}, {"\\r", "R"}, {"\\f", "F"}, {"\\a", "A"}, {"\\e", "E"}, {"\\0101", "o"}, {"\\0", "o"},
        {"\\08", "o"}, {"\\0777", "o"}, {"\\x61", "h"}, {"\\x6", "h"}, {"\\x{61}", "h"}, {"\\x{65e5}", "h"}, {"\\x{110000}", "h"},
        {"\\x{}", "h"}, {"\\u0061", "u"}, {"\\u65E5", "u"}, {"\\u006", "u"}, {"\\cI", "c"}, {"\\c", "c"}, {"\\_", "-"},
        {"\\-", "~"}, {"\\é", "e"}, {"\\y", "y"}, {"\\", "x"}, {"\\E", "x"}, {"\\i", "x"}, {"[\\y]", "x"}, {"[\\1]", "x"},
        {"\\.", "\\.", ".\\", "\\x", "a\\$b", "$0.$0"}, {"(\\d)(\\d)?", "$2$1", "<$2>"},
        {"日", "$0$0", "月"}, {"[あ-龥]", "K"}, {"\\G.", "x"}, {"\\X", "x"}, {"\\N{DIGIT ONE}", "x"}, {"(?U)\\w", "x"},
        {"(?c)a", "x"}, {"\\b{g}", "x"}, {"\\p{InGreek}", "x"}, {"\\p{block=Greek}", "x"}, {"\\p{blk=BasicLatin}", "x"},
        {"\\uD83D", "x"}, {"\\p{javaMirrored}", "x"}, {"\\p{Cs}", "x"},
    };

    static final String[] TEXTS = {
        "MiXeD", "ÉCOLE", "ΑΣ", "ΑΣ ΣΑ", "Σ", "straße", "ŉ", "İstanbul", "ıI", "ﬀ", "ǅ", "日本", "\u0000\u0001 a \u001f\u0020",
        "\u00a0a\u00a0", "\u2003a\u2003", "\ta\n", "", " ", "ᾳ", "\u1e9e", "a\u0345Σ", "ΑΣ.", "ΑΣ'Α", "Ω\u2126",
    };

    static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    public static void main(String[] args) {
        if (args.length == 3) {
            random(new Random(Long.parseLong(args[1])), Integer.parseInt(args[2]));
        } else {
            for (String text : TEXTS) {
                OUT.println("{\"text\":" + json(text) + ",\"lower\":" + json(text.toLowerCase(Locale.ROOT)) + ",\"upper\":"
                    + json(text.toUpperCase(Locale.ROOT)) + ",\"trim\":" + json(text.trim()) + "}");
            }
            for (String[] row : CASES) {
                for (int at = 1; at < row.length; at++) {
                    replace(row[0], row[at], NAMES);
                }
            }
        }
        OUT.flush();
    }

    static void replace(String pattern, String replacement, String[] names) {
        StringBuilder line = new StringBuilder("{\"pattern\":" + json(pattern) + ",\"replacement\":" + json(replacement));
        try {
            Pattern compiled = Pattern.compile(pattern);
            StringBuilder results = new StringBuilder();
            for (String name : names) {
                String result = compiled.matcher(name).replaceAll(replacement);
                results.append(results.length() == 0 ? "" : ",").append("[" + json(name) + "," + json(result) + "]");
            }
            line.append(",\"results\":[" + results + "]}");
        } catch (PatternSyntaxException e) {
            line.append(",\"refused\":\"pattern\"}");
        } catch (IllegalArgumentException | IndexOutOfBoundsException e) {
            line.append(",\"refused\":\"replacement\"}");
        } catch (StackOverflowError e) {
            return;
        }
        OUT.println(line);
    }

    static String json(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ' || c > '~') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    static void random(Random random, int count) {
        List<String> atoms = List.of("a", "b", "A", "1", "_", ".", "\\w", "\\d", "\\W", "[ab]", "[^a]", "[a-c&&[^b]]", "\\b",
            "^", "$", "\\1", "\\p{Lu}", "(?i)", "(?-i)", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)", "[A-C[x]]", "\\B", "\\z", "é",
            "[^b-d&&c-e]", "(?m)", "\\R", "(?s)");
        List<String> letters = List.of("a", "b", "c", "A", "B", "C", "x", "1", "_", "é", "É", "\n");
        for (int at = 0; at < count; at++) {
            String[] names = new String[6];
            for (int name = 0; name < names.length; name++) {
                StringBuilder text = new StringBuilder();
                for (int left = random.nextInt(9); left > 0; left--) {
                    text.append(letters.get(random.nextInt(letters.size())));
                }
                names[name] = text.toString();
            }
            String pattern = pattern(random, atoms, 3);
            replace(pattern, groups(pattern), names);
            replace("(" + pattern + ")" + pattern(random, atoms, 2), "<$0;$1>", names);
        }
    }

    /** A replacement that shows every group. */
    static String groups(String pattern) {
        StringBuilder out = new StringBuilder("<$0");
        try {
            int count = Pattern.compile(pattern).matcher("").groupCount();
            for (int group = 1; group <= count; group++) {
                out.append(";$").append(group);
            }
        } catch (PatternSyntaxException e) {
            // The caller sees it as well.
        }
        return out.append(">").toString();
    }

    static String pattern(Random random, List<String> atoms, int depth) {
        StringBuilder out = new StringBuilder();
        for (int left = 1 + random.nextInt(3); left > 0; left--) {
            int kind = random.nextInt(10);
            if (kind < 3 && depth > 0) {
                String[] open = {"(", "(?:", "(?>", "(?=", "(?!", "(?i:"};
                out.append(open[random.nextInt(open.length)]).append(pattern(random, atoms, depth - 1)).append(")");
            } else {
                out.append(atoms.get(random.nextInt(atoms.size())));
            }
            String[] after = {"", "", "", "*", "+", "?", "{2}", "{1,2}", "*?", "+?", "??", "*+", "++", "?+", "|"};
            out.append(after[random.nextInt(after.length)]);
        }
        return out.toString();
    }
}
