#include "enhance/language.h"

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "enhance/words.h"

namespace backlot {
namespace {

bool changes(const std::string& prompt, const std::string& text) {
  return changes_language(decode_utf8(prompt), decode_utf8(text));
}

bool loses(const std::string& prompt, const std::string& text) {
  return loses_subject(decode_utf8(prompt), decode_utf8(text));
}

struct Sample {
  const char *language, *prompt, *text;
};
const Sample samples[] = {
    {"en", "a red apple on the table",
     "A red apple on the wooden table with drops of water in the light of the morning"},
    {"de", "ein roter Apfel auf dem Tisch",
     "Ein roter Apfel liegt auf dem alten Tisch, und das Licht fällt von links auf die Schale"},
    {"fr", "une pomme rouge sur la table",
     "Une pomme rouge est posée sur la table dans la lumière du matin avec des gouttes d'eau"},
    {"es", "una manzana roja en la mesa",
     "Una manzana roja está en la mesa de madera con gotas de agua y la luz de la mañana"},
    {"it", "una mela rossa sulla tavola",
     "Una mela rossa è sulla tavola di legno con gocce nella luce del mattino e un piatto"},
    {"pt", "uma maçã vermelha na mesa",
     "Uma maçã vermelha está na mesa com gotas de água e a luz da manhã em um prato"},
    {"nl", "een rode appel op de tafel",
     "Een rode appel ligt op de houten tafel met druppels van het water in het ochtendlicht"},
    {"pl", "czerwone jabłko na stole i nóż",
     "Czerwone jabłko leży na stole z drewna i nóż jest obok, a za oknem świt się zaczyna"},
    {"ru", "красное яблоко на столе",
     "Красное яблоко лежит на старом столе, утренний свет падает слева, капли воды на кожуре"},
    {"zh", "一个红苹果放在桌子上", "一个鲜红的苹果放在旧木桌子上，晨光从左边照来，果皮上挂着水珠"},
    {"ja", "テーブルの上の赤いりんご",
     "古い木のテーブルの上に赤いりんごが置かれ、朝の光が左から差し、水滴が輝いている"},
    {"ko", "탁자 위의 빨간 사과",
     "오래된 나무 탁자 위에 놓인 빨간 사과, 아침 햇살이 왼쪽에서 비친다"},
};

TEST(Language, IsKeptOrNot) {
  for (const auto& from : samples)
    for (const auto& to : samples)
      EXPECT_EQ(changes(from.prompt, to.text), &from != &to) << from.language << to.language;
}

TEST(Language, IsThatOfTheWordsThatWereAdded) {
  EXPECT_TRUE(changes("une femme qui lit dans un café à Paris",
                      "Une femme qui lit dans un café à Paris, with a black coat, in soft light"));
  EXPECT_TRUE(changes("ein altes Schloss im Nebel",
                      "Ein altes Schloss im Nebel, a castle in a dark forest, in soft light"));
  EXPECT_FALSE(changes("ein altes Schloss im Nebel",
                       "Ein altes Schloss im Nebel auf einem Hügel, mit hohen Türmen, in mattem "
                       "Licht"));
  EXPECT_FALSE(changes("a sign that says die Bar zum Löwen",
                       "A sign that says die Bar zum Löwen on the wall of an old inn"));
}

TEST(Language, ShortPromptsProveNothing) {
  EXPECT_FALSE(changes("apple", samples[0].text));
  EXPECT_FALSE(changes("", samples[1].text));
  EXPECT_FALSE(changes("1234 !?", samples[2].text));
  EXPECT_FALSE(changes("sushi", samples[1].text));
}

TEST(Language, NamesInAnotherScriptAreNoChange) {
  EXPECT_FALSE(
      changes("一只猫，油画", "一只猫坐在窗边，油画，Van Gogh 的笔触，温暖的光线，厚重的颜料"));
  EXPECT_FALSE(changes("一只猫 in the style of Van Gogh",
                       "A cat by the window in the style of Van Gogh, thick paint and warm light"));
}

TEST(Subject, IsFoundByStems) {
  EXPECT_FALSE(loses("wolves running", "A wolf runs through the snow, running fast"));
  EXPECT_FALSE(loses("three kittens in a basket", "Three small kittens sleep in a wicker basket"));
  EXPECT_FALSE(loses("old fisherman", "Portrait of an old man of the sea, a fisherman by trade"));
  EXPECT_FALSE(loses("Häuser am See", "Alte Häuser stehen an einem stillen See"));
  EXPECT_FALSE(loses("красные яблоки", "На столе лежит красное яблоко"));
  EXPECT_TRUE(loses("a cat on a chair", "A mountain lake at sunrise with pines"));
  EXPECT_TRUE(loses("red car", "A lone figure under the stars of the night"));
  EXPECT_TRUE(loses("红色的汽车", "夜空下的孤独身影"));
  EXPECT_FALSE(loses("红色的汽车", "一辆红色汽车行驶在海边"));
}

TEST(Subject, HalfOfTheContentWordsAreEnough) {
  EXPECT_FALSE(loses("futuristic car", "A sleek car of tomorrow with glowing wheels"));
  EXPECT_TRUE(loses("dragon over castle walls", "A dragon under the moon of the deep night"));
}

TEST(Words, AreCountedAsPeopleWould) {
  EXPECT_EQ(count_words(U"It's a well-known fact, isn't it?"), 7);
  EXPECT_EQ(count_words(U"一个红苹果"), 3);
  EXPECT_EQ(count_words(U""), 0);
  EXPECT_EQ(count_words(U"… — !"), 0);
}

}  // namespace
}  // namespace backlot
