package baskets

import org.junit.Assert.{assertEquals, assertThrows}
import org.junit.Test
import upickle.default.{read, write}

class ReceiptTest:
  private def line(count: Int, each: Int, vat: Int) = Line("x", count, each, vat)

  @Test def taxIsRoundedOnceForEachRate(): Unit =
    val receipt = Receipt.of(Basket("EUR", Seq(line(1, 7, 7), line(1, 19, 19), line(1, 0, 7), line(2, 4, 7))))
    assertEquals(Seq(Tax(7, 15, 1), Tax(19, 19, 4)), receipt.vat)
    assertEquals((34L, 39L), (receipt.net, receipt.gross))

  @Test def halfACentIsRoundedUp(): Unit =
    assertEquals(1L, Receipt.of(Basket("EUR", Seq(line(1, 10, 5)))).vat.head.vat)

  @Test def theLargestBasketDoesNotOverflow(): Unit =
    val lines = Seq.fill(100)(line(1000, 1_000_000, 100))
    assertEquals(200_000_000_000L, Receipt.of(Basket.checked(Basket("EUR", lines))).gross)

  @Test def whatIsLeftOutIsRefusedByName(): Unit =
    val problem = assertThrows(classOf[InvalidBasket], () => Basket.checked(Basket("EUR", Seq(Line(count = 1)))))
    assertEquals("lines[0].each must be from 0 to 1000000", problem.getMessage)

  @Test def aReceiptReadsBackWhatItWrote(): Unit =
    val receipt = Receipt.of(Basket("EUR", Seq(line(3, 415, 7))))
    assertEquals(receipt, read[Receipt](write(receipt)))
