"""The Java bootstrap against what Lambda documents and was recorded to do, on every JDK from 17 on.

The interfaces of `com.amazonaws.services.lambda.runtime` come with the function; here they are written
out as aws-lambda-java-core 1.2 has them, so that the test needs no network.
"""
import glob
import os
import subprocess

import frames
import pytest
from conftest import RUNTIMES
from runtime_api import WAIT_S, Function

P = "com/amazonaws/services/lambda/runtime/"
HEAD = "package com.amazonaws.services.lambda.runtime;\n"
INTERFACES = {
    P + "RequestHandler.java": HEAD + "public interface RequestHandler<I, O> { O handleRequest(I input, Context context); }",
    P + "RequestStreamHandler.java": HEAD + "import java.io.*; public interface RequestStreamHandler { void handleRequest(InputStream in, OutputStream out, Context context) throws IOException; }",
    P + "LambdaLogger.java": HEAD + "public interface LambdaLogger { void log(String message); void log(byte[] message); }",
    P + "CognitoIdentity.java": HEAD + "public interface CognitoIdentity { String getIdentityId(); String getIdentityPoolId(); }",
    P + "Client.java": HEAD + "public interface Client { String getInstallationId(); String getAppTitle(); String getAppVersionName(); String getAppVersionCode(); String getAppPackageName(); }",
    P + "ClientContext.java": HEAD + "import java.util.Map; public interface ClientContext { Client getClient(); Map<String, String> getCustom(); Map<String, String> getEnvironment(); }",
    P + "Context.java": HEAD + """public interface Context { String getAwsRequestId(); String getLogGroupName(); String getLogStreamName(); String getFunctionName();
        String getFunctionVersion(); String getInvokedFunctionArn(); CognitoIdentity getIdentity(); ClientContext getClientContext();
        int getRemainingTimeInMillis(); int getMemoryLimitInMB(); LambdaLogger getLogger(); }""",
}
CODE = """
package app;
import com.amazonaws.services.lambda.runtime.*;
import java.io.*;
import java.util.*;

public class Fn {
    public enum Size { SMALL, LARGE }
    public static class Odd {
        private Date when; private java.nio.ByteBuffer bytes; private Optional<String> maybe = Optional.of("m"); private Integer number; private Boolean flag; private Size size = Size.LARGE; private int[] all;
        public Date getWhen() { return when; } public void setWhen(Date v) { when = v; }
        public java.nio.ByteBuffer getBytes() { return bytes; } public void setBytes(java.nio.ByteBuffer v) { bytes = v; }
        public Optional<String> getMaybe() { return maybe; }
        public Integer getNumber() { return number; } public void setNumber(Integer v) { number = v; }
        public Boolean isFlag() { return flag; } public void setFlag(Boolean v) { flag = v; }
        public Size getSize() { return size; } public void setSize(Size v) { size = v; }
        public int[] getAll() { return all; } public void setAll(int[] v) { all = v; }
        public String getURL() { return "u"; }
        public Calendar getDay() { Calendar c = Calendar.getInstance(); c.setTimeInMillis(1500); return c; }
    }
    /** Neither setters nor public fields: what its constructor takes, in the order of its fields. */
    public static class Sealed {
        private static final long serialVersionUID = 1;
        private final String first; private final long second; private final List<Sealed> more;
        public Sealed(String first, long second, List<Sealed> more) { this.first = first; this.second = second; this.more = more; }
        public String getFirst() { return first; } public long getSecond() { return second; } public List<Sealed> getMore() { return more; }
    }
    /** The constructor that takes all of it is meant. */
    public static class Either {
        private final String a, b;
        public Either(String a, String b) { this.a = a; this.b = b; }
        public Either(String a) { this(a, null); }
        public String getA() { return a; } public String getB() { return b; }
    }
    public static class Outer {
        public String name;
        private Inner inner; public Inner getInner() { return inner; } public void setInner(Inner v) { inner = v; }
        public class Inner { private int x; public int getX() { return x; } public void setX(int v) { x = v; } public String getOf() { return Outer.this.getClass().getSimpleName(); } }
    }
    public Outer outer(Outer in) { return in; }
    public Odd odd(Odd in) { return in; }
    public Sealed sealed(Sealed in) { return in; }
    public Either either(Either in) { return in; }
    public record Point(int x, double y, List<String> tags) {}
    public static class Item {
        private String name; private int count; private Size size; private Item inner; private List<Item> items; private Boolean active; private long aLongOne;
        public String note;
        public String getName() { return name; } public void setName(String v) { name = v; }
        public int getCount() { return count; } public void setCount(int v) { count = v; }
        public Size getSize() { return size; } public void setSize(Size v) { size = v; }
        public Item getInner() { return inner; } public void setInner(Item v) { inner = v; }
        public List<Item> getItems() { return items; } public void setItems(List<Item> v) { items = v; }
        public Boolean getActive() { return active; } public void setActive(Boolean v) { active = v; }
        public boolean isLarge() { return size == Size.LARGE; }
    }
    public Item item(Item in, Context c) { in.setCount(in.getCount() + 1); return in; }
    public Point point(Point in) { return new Point(in.x() + 1, in.y(), in.tags()); }
    public String text(String in) { return "got " + in; }
    public Integer plus(Integer in) { return in + 1; }
    public int sum(List<Integer> in) { int sum = 0; for (int i : in) sum += i; return sum; }
    public Map<String, Item> byName(Map<String, Item> in) { for (Item i : in.values()) i.setCount(7); return in; }
    public Object any(Object in) { return in; }
    public void nothing(String in) {}
    public String noArguments() { return "none"; }
    public InputStream streamed(InputStream in) { return in; }
    public long[] array(long[] in) { long[] out = in.clone(); Arrays.sort(out); return out; }
    public Object types(Map<String, Object> in) { StringBuilder s = new StringBuilder(); for (Object o : in.values()) s.append(o == null ? "null" : o.getClass().getSimpleName()).append(' '); return s.toString().trim(); }
    public String overloaded(String in) { return "one"; }
    public String overloaded(String in, Context c) { return "two"; }
    public static String fixed(String in) { return "static"; }
    public Object fails(String in) throws Exception {
        if (in.equals("no")) return "ok";
        try { inner(); } catch (RuntimeException e) { throw new IOException("Error: some_error_msg", e); }
        return null;
    }
    void inner() { throw new IllegalStateException("the cause"); }
    public Object cycle(Object in) { List<Object> list = new ArrayList<>(); list.add(list); return list; }
    public void exits(int in) { System.exit(in); }
    public void prints(Object in, Context c) { System.out.println("out"); System.err.println("err"); c.getLogger().log("logged\\n"); c.getLogger().log("bytes\\n".getBytes()); }
    public Map<String, Object> context(Object in, Context c) {
        Map<String, Object> m = new LinkedHashMap<>();
        m.put("id", c.getAwsRequestId()); m.put("name", c.getFunctionName()); m.put("version", c.getFunctionVersion()); m.put("arn", c.getInvokedFunctionArn());
        m.put("memory", c.getMemoryLimitInMB()); m.put("group", c.getLogGroupName()); m.put("stream", c.getLogStreamName()); m.put("left", c.getRemainingTimeInMillis());
        m.put("identity", c.getIdentity().getIdentityId()); m.put("client", c.getClientContext() == null ? null : c.getClientContext().getClient().getAppTitle());
        m.put("custom", c.getClientContext() == null ? null : c.getClientContext().getCustom()); m.put("trace", System.getProperty("com.amazonaws.xray.traceHeader"));
        return m;
    }
}
"""
TYPED = "package app; import com.amazonaws.services.lambda.runtime.*; import java.util.*;\npublic class Typed extends Base<Fn.Item> { public String of(Fn.Item i) { return i.getName(); } }\nabstract class Base<T> implements RequestHandler<List<T>, String> { public abstract String of(T t); public String handleRequest(List<T> in, Context c) { return of(in.get(0)); } public String custom(Object in) { return \"CUSTOM\"; } }\n"
STREAM = "package app; import com.amazonaws.services.lambda.runtime.*; import java.io.*;\npublic class Stream implements RequestStreamHandler { public void handleRequest(InputStream in, OutputStream out, Context c) throws IOException { out.write('['); in.transferTo(out); out.write(']'); } }\n"
BROKEN = "package app; public class Broken { static { if (true) throw new IllegalStateException(\"at init\"); } public Object run(Object in) { return null; } }\n"
# What `org.crac` does, which a function brings, in short: it finds the platform by these names.
HOOKED = """
package app;
import java.lang.reflect.*;
import java.util.*;

public class Hooked {
    static final List<String> TOLD = new ArrayList<>();
    static final List<Object> KEPT = new ArrayList<>();
    static {
        try {
            String at = System.getProperty("org.crac.Core.Compat");
            Class<?> resource = Class.forName(at + ".Resource"), core = Class.forName(at + ".Core");
            Class.forName(at + ".CheckpointException");
            Class.forName(at + ".RestoreException");
            core.getMethod("checkpointRestore");
            Object global = core.getMethod("getGlobalContext").invoke(null);
            Method register = Class.forName(at + ".Context").getMethod("register", resource);
            for (String name : new String[] {"one", "two"}) {
                KEPT.add(Proxy.newProxyInstance(Hooked.class.getClassLoader(), new Class<?>[] {resource}, (self, method, given) -> told(name + " " + method.getName())));
                register.invoke(global, KEPT.get(KEPT.size() - 1));
            }
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }
    static Object told(String what) {
        TOLD.add(what);
        if (what.equals(System.getenv("FAILS"))) throw new IllegalStateException("as told");
        return null;
    }
    public List<String> told(Object in) { return TOLD; }
}
"""
SOURCES = dict(INTERFACES, **{"app/Fn.java": CODE, "app/Hooked.java": HOOKED, "app/Typed.java": TYPED, "app/Stream.java": STREAM, "app/Broken.java": BROKEN})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Class files of the bootstrap and of the function, by JDK."""
    made = {}

    def build(java):
        if java.name not in made:
            folder = tmp_path_factory.mktemp(java.name)
            for name, text in SOURCES.items():
                path = folder / "src" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            javac = os.path.join(java.home, "bin", "javac")
            compile_ = [javac, "--release", "17", "-nowarn", "-d"]
            subprocess.run(compile_ + [str(folder / "boot")] + glob.glob(os.path.join(RUNTIMES, "java", "src", "**", "*.java"), recursive=True), check=True)
            subprocess.run(compile_ + [str(folder / "fn")] + [str(folder / "src" / name) for name in SOURCES], check=True)
            files = {}
            for path in (folder / "fn").rglob("*.class"):
                files[str(path.relative_to(folder / "fn"))] = path.read_bytes()
            made[java.name] = (str(folder / "boot"), files)
        return made[java.name]

    return build


def run(java, built, handler, env=None, extra=None):
    boot, files = built(java)
    runtime = java.like([part.replace("{classes}", boot) for part in java._argv])
    return Function(runtime, dict(files, **(extra or {})), handler, env)


def test_plain_methods_and_their_types(java, built):
    for method, event, expected in (
        ("text", "x", "got x"),
        ("text", 5, "got 5"),
        ("plus", 41, 42),
        ("plus", "41", 42),
        ("sum", [1, 2, 3], 6),
        ("any", {"a": [1, 2.5, None, True, "\u00fc\u4e16\U0001f600"], "b": None}, {"a": [1, 2.5, None, True, "\u00fc\u4e16\U0001f600"]}),
        ("nothing", "x", None),
        ("noArguments", "x", "none"),
        ("streamed", {"raw": 1}, {"raw": 1}),
        ("array", [3, 1, 2], [1, 2, 3]),
        ("types", {"a": 1, "b": 5000000000, "c": 1.5, "d": 99999999999999999999, "e": None, "f": [], "g": {}}, "Integer Long Double BigInteger null ArrayList LinkedHashMap"),
        ("overloaded", "x", "two"),
        ("fixed", "x", "static"),
        ("point", {"x": 1, "y": 2.5, "tags": ["a"]}, {"x": 2, "y": 2.5, "tags": ["a"]}),
    ):
        with run(java, built, "app.Fn::" + method) as f:
            assert f.call(event) == expected, method
            assert f.call(event) == expected, method


def test_beans_generics_and_nesting(java, built):
    with run(java, built, "app.Fn::item") as f:
        event = {"name": "a", "count": 1, "size": "LARGE", "inner": {"name": "b"}, "items": [{"Name": "c"}], "active": True, "note": "n", "unknown": [1]}
        empty = {"count": 0, "large": False}
        assert f.call(event) == dict(empty, name="a", count=2, size="LARGE", inner=dict(empty, name="b"), items=[dict(empty, name="c")], active=True, large=True, note="n")
    with run(java, built, "app.Fn::byName") as f:
        assert f.call({"k": {"name": "a"}})["k"]["count"] == 7


def test_values_of_which_json_has_no_form(java, built):
    always = {"maybe": "m", "URL": "u", "day": 1500}
    with run(java, built, "app.Fn::odd") as f:
        for event, expected in (
            ({}, {"size": "LARGE"}),
            ({"when": 1545084650987, "bytes": "3q2+7w=="}, {"when": 1545084650987, "bytes": "3q2+7w==", "size": "LARGE"}),
            ({"when": "2018-12-17T22:10:50.987Z"}, {"when": 1545084650987, "size": "LARGE"}),
            ({"when": "2018-12-17T23:10:50+0100"}, {"when": 1545084650000, "size": "LARGE"}),
            ({"when": "2018-12-17"}, {"when": 1545004800000, "size": "LARGE"}),
            ({"when": "Mon, 17 Dec 2018 22:10:50 GMT"}, {"when": 1545084650000, "size": "LARGE"}),
            ({"when": "", "number": "", "flag": "", "size": ""}, {}),
            ({"size": "of no such name"}, {}),
            ({"size": 0, "flag": 1, "all": 5}, {"size": "SMALL", "flag": True, "all": [5]}),
        ):
            assert f.call(event) == dict(always, **expected), event
        for event in ({"when": "yesterday"}, {"when": 1e300}, {"when": {}}, {"bytes": "*"}, {"bytes": 1}, {"size": {}}, {"number": "x"}):
            assert f.failure(event)["errorType"] == "Runtime.UnmarshalError", event


def test_a_class_without_setters_is_made_by_its_constructor(java, built):
    with run(java, built, "app.Fn::sealed") as f:
        event = {"more": [{"first": "b", "second": 2, "more": []}], "second": 1, "first": "a"}
        assert f.call(event) == event
        assert f.call({}) == {"second": 0}
    with run(java, built, "app.Fn::either") as f:
        assert f.call({"a": "1", "b": "2"}) == {"a": "1", "b": "2"}


def test_an_inner_class_that_is_not_static_belongs_to_its_bean(java, built):
    with run(java, built, "app.Fn::outer") as f:
        assert f.call({"name": "n", "inner": {"x": 1}}) == {"name": "n", "inner": {"x": 1, "of": "Outer"}}


def test_handler_interfaces(java, built):
    with run(java, built, "app.Typed") as f:
        assert f.call([{"name": "generic"}]) == "generic"
    with run(java, built, "app.Typed::custom") as f:
        assert f.call([]) == "CUSTOM"
    with run(java, built, "app.Stream") as f:
        assert f.call({"a": 1}) == [{"a": 1}]


def test_context_is_whole(java, built):
    with run(java, built, "app.Fn::context") as f:
        got = f.call({}, headers={"Lambda-Runtime-Client-Context": '{"client":{"app_title":"t"},"custom":{"k":"v"}}', "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId":"i"}'})
        assert 0 < got.pop("left") <= 60000
        assert got == {
            "id": "00000000-0000-4000-8000-000000000001", "name": "fn", "version": "$LATEST", "arn": "arn:aws:lambda:us-east-1:111111111111:function:fn",
            "memory": 128, "group": "/aws/lambda/fn", "stream": "2026/01/01/[$LATEST]abc", **({"identity": "i"} if f.api.carries_identity else {}), "client": "t", "custom": {"k": "v"}, "trace": "Root=1-1",
        }
        assert "client" not in f.call({})


def test_errors_are_the_callers_and_the_next_event_is_served(java, built):
    with run(java, built, "app.Fn::fails") as f:
        error = f.failure("yes")
        assert error.pop("_header") == "java.io.IOException"
        stack, cause = error.pop("stackTrace"), error.pop("cause")
        assert error == {"errorMessage": "Error: some_error_msg", "errorType": "java.io.IOException"}
        assert len(stack) == 1 and stack[0].startswith("app.Fn.fails(Fn.java:"), stack
        assert (cause["errorType"], cause["errorMessage"]) == ("java.lang.IllegalStateException", "the cause")
        assert cause["stackTrace"][0].startswith("app.Fn.inner(Fn.java:")
        assert "Error: some_error_msg: java.io.IOException\r\tat app.Fn.fails(" in f.log("Caused by")
        assert f.call("no") == "ok"


def test_bad_events_and_answers(java, built):
    with run(java, built, "app.Fn::plus") as f:
        for raw in (b"{", b"[1", b"1 2", b'"\x01"', b"", b"tru", b"1e", b'"\\u12g4"', b"--1", b'{"a" 1}', b"[" * 100000, b"1e99999999", b"99999999999"):
            error = f.failure(raw=raw)
            assert error["errorType"] == "Runtime.UnmarshalError", (raw[:20], error)
            assert error["errorMessage"].startswith("An error occurred during JSON parsing: "), error
        assert f.failure([1])["errorMessage"] == "An error occurred during JSON parsing: cannot make java.lang.Integer of an array"
        assert f.call(1) == 2
    with run(java, built, "app.Fn::cycle") as f:
        assert f.failure({})["errorType"] == "Runtime.MarshalError"


def test_init_errors(java, built):
    for handler, error_type, message in (
        ("app.Absent::run", "java.lang.ClassNotFoundException", "Class not found: app.Absent"),
        ("app.Fn::absent", "Runtime.HandlerNotFound", "No public method named absent with appropriate method signature found on class app.Fn"),
        ("app.Fn", "Runtime.HandlerNotFound", "Class app.Fn implements neither RequestHandler nor RequestStreamHandler; name a method as app.Fn::method"),
        ("", "Runtime.MalformedHandlerName", "'' is not a valid handler name. A valid handler name is package.Class::method or package.Class"),
        ("app.Broken::run", "java.lang.ExceptionInInitializerError", None),
    ):
        with run(java, built, handler) as f:
            error = f.init_error()
            assert (error["errorType"], error["_header"], error["errorMessage"]) == (error_type, error_type, message)
            assert f.exit_code() == 1
            if handler.startswith("app.Broken"):
                assert error["cause"]["errorMessage"] == "at init"


def test_output_is_kept_and_exits_end_the_process(java, built):
    with run(java, built, "app.Fn::prints") as f:
        assert f.call({}) is None
        assert sorted(f.log("bytes").splitlines()) == ["bytes", "err", "logged", "out"]
    with run(java, built, "app.Fn::exits") as f:
        f.send(9)
        assert f.exit_code() == 9


def test_jars_of_the_function_are_on_its_class_path(java, built, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "Lib.java").write_text('package lib; public class Lib { public String run(String in) { return "from the jar"; } }')
    subprocess.run([os.path.join(java.home, "bin", "javac"), "-d", str(tmp_path / "c"), str(tmp_path / "Lib.java")], check=True)
    jar = tmp_path / "lib.jar"
    subprocess.run([os.path.join(java.home, "bin", "jar"), "cf", str(jar), "-C", str(tmp_path / "c"), "."], check=True)
    with run(java, built, "lib.Lib::run", extra={"lib/lib.jar": jar.read_bytes()}) as f:
        assert f.call("x") == "from the jar"


def test_large_bodies_chunked_events_and_refused_responses(java, built):
    with run(java, built, "app.Fn::any") as f:
        f.api.chunked = True
        assert f.call("x" * 3000000) == "x" * 3000000
        f.api.response_limit = 1000
        f.send("x" * 2000)
        assert f.answer()["too_large"]
        assert f.call("y") == "y"


@pytest.mark.parametrize("fails, error_type", [
    ("", None), ("two beforeCheckpoint", "Runtime.BeforeCheckpointError"), ("one afterRestore", "Runtime.AfterRestoreError")])
def test_hooks_run_around_a_snapshot_in_lambdas_order(java, built, fails, error_type):
    env = {"FAILS": fails, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    with run(java, built, "app.Hooked::told", env=env) as f:
        if java.transport == "frames":
            assert f.api.answered.wait(WAIT_S), "it is ready"
            f.api.answered.clear()
            f.api.say(frames.PREPARE)
            if "before" not in fails:
                assert f.api.others.get(timeout=WAIT_S)[0] == frames.UNFIT
                f.api.say(frames.RESUME)
        else:
            f.api.restores.put("now")
        if error_type is None:
            assert f.call() == ["two beforeCheckpoint", "one beforeCheckpoint", "one afterRestore", "two afterRestore"]
        else:
            error = f.init_error()
            assert (error["_header"], error["errorMessage"]) == (error_type, "java.lang.IllegalStateException: as told")
            assert f.exit_code() == 64


def test_hooks_of_who_is_not_told_of_a_snapshot_do_not_run(java, built):
    with run(java, built, "app.Hooked::told") as f:
        assert f.call() == []
