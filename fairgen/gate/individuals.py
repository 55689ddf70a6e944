"""The prompt gate's words for somebody in particular: famous people, given names, and the words of
office that stand before a name.

Data in lower case and in the singular. A hyphen reads as a space, # as any number.
"""

from fairgen.gate.phrases import word_list

# Individuals, living, dead or made up, and roles of a time and place whose people are known: an
# identity implies every attribute.
FIGURES = word_list(
    """
    abe lincoln, abraham lincoln, achilles, ada lovelace, adele, adolf hitler, agatha christie,
    aladdin, american gothic, andy warhol, angelina jolie, aphrodite, ariana grande, aristotle,
    arnold schwarzenegger, athena, attila the hun, aung san suu kyi, ayrton senna, aztec warrior,
    baby yoda, bach, barbie, batman, batwoman, beckham, beethoven, beyonce, biden, bill clinton,
    bill gates, billie eilish, billie holiday, bismarck, black panther, bob dylan, bob marley,
    buddha, captain ahab, captain america, captain hook, captain jack sparrow, captain kirk,
    caravaggio, cary grant, catwoman, charlemagne, che guevara, chopin, christ the redeemer,
    churchill, cinderella, cleopatra, clint eastwood, coco chanel, confederate soldier, confucius,
    conquistador, copernicus, crazy horse, cristiano ronaldo, crusader, da vinci, daenerys
    targaryen, dalai lama, dante alighieri, darth vader, darwin, david attenborough, david beckham,
    david bowie, desmond tutu, doctor strange, don quixote, dostoevsky, dr jekyll, dr strange,
    dracula, duke of edinburgh, duke of wellington, dumbledore, dwayne johnson, edvard munch,
    einstein, eisenhower, elon musk, elton john, elvis, elvis presley, eminem, emmanuel macron,
    emmeline pankhurst, feynman, fidel castro, florence nightingale, forrest gump, founding father,
    frankenstein, franklin d roosevelt, franklin roosevelt, franz kafka, freddie mercury, freud,
    frodo, galilei, galileo, galileo galilei, gandalf, gandhi, ganesh, garibaldi, genghis khan,
    george floyd, george orwell, george w bush, george washington, geralt, girl with a pearl
    earring, goethe, golda meir, goya, grace hopper, grace kelly, guy fawkes, hagrid, han solo,
    hannibal lecter, harrison ford, hercules, hippocrates, hitler, hokusai, homer simpson, hypatia,
    immanuel kant, indiana jones, iron man, ironman, jack sparrow, jack the ripper, jackie chan,
    jackie kennedy, jane austen, jane goodall, jesus, jesus christ, jimi hendrix, jon snow, judy
    garland, juliet, kafka, kamala harris, katniss everdeen, kennedy, kepler, kim kardashian, king
    arthur, king charles, king david, king george, king henry viii, king lear, king midas, king of
    england, king solomon, king tut, krampus, krishna, lady gaga, lady godiva, lady macbeth,
    lafayette, laozi, lara croft, lawrence of arabia, lebron james, legolas, leonhard euler, lewis
    hamilton, little red riding hood, loki, lolita, lord byron, lord nelson, louis armstrong, louis
    pasteur, louis xiv, lucille ball, macron, madonna and child, mahatma gandhi, malala, malala
    yousafzai, mandela, mao zedong, mark twain, mark zuckerberg, marlon brando, martin luther,
    martin luther king, martin luther king jr, mata hari, max planck, maya angelou, merkel, meryl
    streep, messi, michelangelo, mickey mouse, miles davis, minnie mouse, mona lisa, morgan freeman,
    moses, mother teresa, mozart, mr bean, mr darcy, mr spock, mrs claus, mulan, mussolini,
    napoleon, napoleon bonaparte, narendra modi, nazi, nefertiti, nelson mandela, newton, niccolo
    machiavelli, nicolaus copernicus, niels bohr, nietzsche, nikola tesla, nixon, nostradamus,
    obama, odysseus, ophelia, oppenheimer, oprah winfrey, oscar wilde, othello, pavarotti, pele,
    pharaoh, picasso, pikachu, plato, pocahontas, pope francis, pope john paul ii, poseidon, prince
    charles, prince harry, prince of wales, prince william, princess diana, princess leia, princess
    mononoke, princess peach, prophet muhammad, putin, pythagoras, queen anne, queen elizabeth,
    queen elizabeth i, queen elizabeth ii, queen of england, queen victoria, rasputin, ray charles,
    reagan, rembrandt, rihanna, robespierre, robin hood, robinson crusoe, rocky balboa, roman
    centurion, roman legionary, romeo, ronaldo, sacagawea, saddam hussein, sailor moon, saint
    nicholas, samurai, santa, santa claus, sauron, scarlett johansson, serena williams, shakespeare,
    sherlock holmes, shiva, shogun, sigmund freud, sitting bull, snow white, socrates, sojourner
    truth, spartacus, spider man, spiderman, stalin, sun tzu, supergirl, superman, taylor swift,
    tchaikovsky, the joker, the virgin mary, thor, tiger woods, titian, tolstoy, toulouse lautrec,
    tupac, tutankhamun, tyrion lannister, ulysses, usain bolt, van gogh, venus williams, vermeer,
    victor hugo, viking, virgin mary, virginia woolf, vivaldi, voldemort, voltaire, wagner, walt
    disney, walt whitman, warren buffett, will smith, willem dafoe, willy wonka, wonder woman, yoda,
    zelensky, zendaya, zeus, zorro
    """
)
# Given names that are no words, places or surnames first: a name is somebody's.
NAMES = word_list(
    """
    aaron, abdul, abdullah, abigail, adaeze, adam, adrian, agnes, ahmed, aiko, aisha, akira, alan,
    albert, alejandro, aleksandr, alessandro, alexander, alexandra, alfred, ali, alice, alicia,
    alison, amara, amelia, amina, amy, ana, ananya, anastasia, anders, andrea, andreas, andrew,
    angela, anil, anita, anna, anne, annie, anthony, antoine, antonia, arjun, arthur, astrid,
    audrey, ava, barack, barbara, beatrice, benjamin, benoit, bernard, bernie, beth, betty, bianca,
    bjorn, boris, brad, brandon, brenda, brian, bridget, brigitte, brittany, bruce, caleb, cameron,
    camilla, camille, carla, carlos, carmen, caroline, catherine, cecilia, celine, charles, charlie,
    cheryl, chidi, chinua, chloe, chris, christina, christine, christopher, cindy, claire, clara,
    claude, claudia, colin, connor, consuelo, craig, curtis, cynthia, damien, daniel, danielle,
    daphne, darren, dave, debbie, deborah, deepak, denise, dennis, derek, diana, diane, didier,
    diego, dmitri, dolores, dominic, donald, donna, doris, dorothy, duncan, dustin, edgar, edith,
    edmund, edna, eduardo, edward, ekaterina, elaine, eleanor, elena, eli, elias, elijah, eliza,
    elizabeth, ella, ellen, elodie, elsa, emile, emily, emma, enrique, eric, erica, erik, ernest,
    ernesto, esperanza, ethan, etienne, eugene, eva, evelyn, ezra, fabien, fatima, felipe, felix,
    fernando, fiona, floyd, francesca, francis, francois, frederick, freya, frida, friedrich,
    gabriel, gabriela, galina, gareth, gary, gavin, genevieve, geoffrey, gerald, gerard, gertrude,
    gilles, gina, giovanni, giuseppe, gordon, greg, gregory, greta, guadalupe, guillaume, gunnar,
    gustav, gustavo, hamid, hamza, hannah, hans, harold, harriet, harry, haruki, hassan, hayao,
    hector, helen, helena, henri, henrik, henry, hermione, hernan, hilary, hillary, hiroshi, howard,
    hugo, hussein, hyun, ian, ibrahim, ignacio, igor, indira, ines, ingmar, ingrid, irene, irina,
    isaac, isabel, isabella, isabelle, ismail, ivan, ivana, jacob, jacques, jake, jamal, james,
    jamie, janet, jared, jason, javier, jean, jean paul, jeff, jeffery, jeffrey, jennifer, jenny,
    jeremy, jerome, jerry, jessica, jill, jim, jimmy, joan, joanna, joanne, joaquin, jodie, joe,
    johann, johannes, john, johnny, jonah, jonathan, jorge, joseph, josephine, joshua, joyce, juana,
    judith, julia, julian, julie, julio, julius, jun, karen, karim, karl, kate, katherine, katie,
    kavita, keanu, keiko, keith, kenji, kenneth, kenta, kevin, khadija, khalid, kimberly, kirsten,
    klaus, kofi, kristen, ksenia, kurt, kwame, kyle, lakshmi, larisa, larry, lars, latifa, laura,
    lauren, laurence, laurent, layla, leah, leila, lena, leo, leon, leonard, leonardo, lerato, lev,
    liam, lillian, linda, lionel, lisa, lise, liv, lola, lorenzo, lorraine, luc, lucas, lucia, lucy,
    ludmila, ludwig, luigi, luis, luke, lydia, lynn, maggie, magnus, mahmoud, malcolm, manuel,
    marcelo, marcia, marco, marcus, margaret, margot, maria, mariano, marie, marilyn, mario, marion,
    marjorie, marlene, martha, mary, mateo, mathieu, matilda, matteo, matthew, maurice, mavis,
    meera, megan, mehmet, melanie, melissa, mia, michael, michel, michelle, miguel, mikhail,
    mildred, min jun, miriam, mohamed, mohammed, molly, monica, muhammad, mustafa, myra, nadia,
    naoko, naomi, nasser, natalia, natalie, natasha, nathalie, nathan, nathaniel, neil, nellie,
    nicholas, nicole, nigel, nikita, nikolai, nils, nina, nisha, nkosi, noah, noel, noor, norma,
    odette, oksana, olaf, oleg, olga, oliver, olivia, olivier, oluwaseun, omar, otto, owen, pablo,
    pamela, pascal, patricia, patrick, paul, paula, pauline, pavel, pedro, peggy, pernille, peter,
    philip, philippe, phoebe, phyllis, pierre, pilar, piotr, polly, pooja, priya, quentin, rachel,
    rafael, rahul, rajesh, rajiv, ralph, ramon, rashid, raul, ravi, raymond, rebecca, regina, rene,
    rhonda, ricardo, richard, rita, robert, roberta, roberto, rodrigo, roger, rohan, roland, ronald,
    rosa, rosalind, rosie, roxanne, rudolf, rupert, ruth, ryan, sabrina, sally, salma, salvador,
    sam, samantha, samira, samuel, sandra, sanjay, sara, sarah, satoshi, sebastian, sergei, sergey,
    sergio, sharon, sheila, sheldon, shirley, sidney, sigrid, silvia, simon, simone, sipho, sofia,
    sonia, soo jin, sophia, sophie, stefan, stella, stephanie, stephen, steve, steven, stuart,
    sunita, susan, suzanne, sven, svetlana, sylvia, sylvie, takeshi, tamara, tariq, tatiana,
    tatyana, terence, teresa, thabo, theodore, theresa, thierry, thomas, tiffany, tim, timothy,
    tina, tobias, todd, tom, tommy, tony, tracy, trevor, trudy, ursula, valentina, valerie, vanessa,
    vasily, vera, veronica, vicente, vijay, vikram, vincent, vincenzo, vivian, vladimir, walter,
    wanda, wangari, wayne, wei, wendy, wesley, wilhelm, william, winifred, winston, wolfgang,
    xavier, xiu, yasmin, yasser, yelena, yoko, yolanda, yuki, yumi, yuri, yusuf, yves, yvonne,
    zachary, zainab, zara, zoe, zola
    """
)
# What follows these is a surname, whatever else it means: "Mrs. Peacock".
HONORIFICS = word_list(
    """
    colonel, commander, corporal, dr, inspector, lieutenant, madam, madame, mademoiselle, miss,
    monsieur, mr, mrs, ms, mx, principal, prof, professor, reverend, senor, senora, sergeant, sir
    """
)
# Offices whose holder a name tells: "Queen Victoria", "President Lincoln".
SOVEREIGNS = word_list(
    """
    chancellor, czar, emperor, empress, king, minister, pope, president, prime minister, prince,
    princess, queen, saint, senator, sultan, tsar, tsarina
    """
)
