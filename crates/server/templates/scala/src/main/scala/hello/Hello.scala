package hello

import com.amazonaws.services.lambda.runtime.{Context, RequestHandler}
import java.util.Map as JavaMap

/** Greets whoever the event names. */
final class Hello extends RequestHandler[JavaMap[String, AnyRef], JavaMap[String, String]]:
  override def handleRequest(event: JavaMap[String, AnyRef], context: Context): JavaMap[String, String] =
    val name = Option(event.get("name")).getOrElse("world")
    context.getLogger.log(s"greeting $name\n")
    JavaMap.of("message", s"Hello, $name!")
