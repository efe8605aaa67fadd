package baskets

import com.amazonaws.services.lambda.runtime.{Context, RequestStreamHandler}
import java.io.{InputStream, OutputStream}
import upickle.default.{read, writeToOutputStream}

/** Prices a basket: JSON in, JSON out, both with upickle. */
final class Price extends RequestStreamHandler:
  override def handleRequest(input: InputStream, output: OutputStream, context: Context): Unit =
    val receipt = Receipt.of(Basket.checked(read[Basket](input)))
    context.getLogger.log(s"priced ${receipt.vat.size} rates of tax\n")
    writeToOutputStream(receipt, output)
