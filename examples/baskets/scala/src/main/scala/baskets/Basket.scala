package baskets

import upickle.default.{ReadWriter, macroRW}

/** What was bought: prices are net and in whole cents, so that sums are exact. */
final case class Basket(currency: String = "", lines: Seq[Line] = Nil)

/** So many of one thing, the price of each, and the tax on it in percent. */
final case class Line(name: String = "", count: Int = 0, each: Int = -1, vat: Int = -1)

/** The net sum at one rate of tax, and the tax on it. */
final case class Tax(percent: Int, net: Long, vat: Long)

/** What is to be paid. */
final case class Receipt(currency: String, net: Long, vat: Seq[Tax], gross: Long)

/** A basket that cannot be priced; the message names the field. */
final class InvalidBasket(message: String) extends RuntimeException(message)

object Basket:
  given ReadWriter[Line] = macroRW
  given ReadWriter[Basket] = macroRW

  private val linesMax = 100

  /** The same basket, if it can be priced. */
  def checked(basket: Basket): Basket =
    require("[A-Z]{3}".r.matches(basket.currency), "currency must be three capital letters")
    require((1 to linesMax).contains(basket.lines.size), s"lines must have 1 to $linesMax entries")
    for (line, at) <- basket.lines.zipWithIndex do
      within(s"lines[$at].count", line.count, 1 to 1000)
      within(s"lines[$at].each", line.each, 0 to 1_000_000)
      within(s"lines[$at].vat", line.vat, 0 to 100)
    basket

  private def within(field: String, value: Int, allowed: Range.Inclusive): Unit =
    require(allowed.contains(value), s"$field must be from ${allowed.start} to ${allowed.end}")

  private def require(holds: Boolean, message: => String): Unit =
    if !holds then throw InvalidBasket(message)

object Receipt:
  given ReadWriter[Tax] = macroRW
  given ReadWriter[Receipt] = macroRW

  /** Tax is rounded once for each rate, half a cent up. */
  def of(basket: Basket): Receipt =
    val taxes = basket.lines
      .groupMapReduce(_.vat)(line => line.count.toLong * line.each)(_ + _)
      .toSeq
      .sorted
      .map((percent, net) => Tax(percent, net, (net * percent + 50) / 100))
    val net = taxes.map(_.net).sum
    Receipt(basket.currency, net, taxes, net + taxes.map(_.vat).sum)
